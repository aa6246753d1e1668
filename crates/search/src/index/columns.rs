//! Values of all rows in memory, for filters.

use std::collections::{BTreeMap, HashMap};

use super::error::IndexError;
use super::filter::Term;
use super::notes::Note;
use crate::RowSet;

/// The value of a row without one.
const NONE: u32 = u32::MAX;

/// The values of one column: each distinct one once, and 4 bytes per row.
#[derive(Debug, Default)]
pub(crate) struct Column {
    values: Vec<String>,
    index: HashMap<String, u32>,
    rows: Vec<u32>,
}

impl Column {
    /// Sets the value of a row. Rows are set in ascending order.
    pub(crate) fn set(&mut self, row: usize, value: &str) {
        self.rows.resize(row, NONE);
        let index = match self.index.get(value) {
            Some(&index) => index,
            None => {
                let index = self.values.len() as u32;
                self.values.push(value.to_owned());
                self.index.insert(value.to_owned(), index);
                index
            }
        };
        self.rows.push(index);
    }

    /// The rows for which a condition holds.
    pub(crate) fn select(&self, term: &Term, rows: usize) -> RowSet {
        let holds: Vec<bool> = self.values.iter().map(|value| term.holds(Some(value))).collect();
        let missing = term.holds(None);
        let value = |row: usize| self.rows.get(row).copied().unwrap_or(NONE);
        RowSet::from_fn(rows, |row| holds.get(value(row) as usize).copied().unwrap_or(missing))
    }
}

/// The values of all columns.
#[derive(Debug, Default)]
pub(crate) struct Columns(BTreeMap<String, Column>);

impl Columns {
    pub(crate) fn add(&mut self, row: usize, note: &Note) {
        for (name, value) in &note.columns {
            if !self.0.contains_key(name) {
                self.0.insert(name.clone(), Column::default());
            }
            if let Some(column) = self.0.get_mut(name) {
                column.set(row, value);
            }
        }
    }

    /// The rows for which a condition holds.
    pub(crate) fn select(&self, term: &Term, rows: usize, known: &[String]) -> Result<RowSet, IndexError> {
        if !known.contains(&term.field) {
            let names = ["key", "class"].into_iter().chain(known.iter().map(String::as_str));
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            return Err(IndexError::Filter {
                filter: term.to_string(),
                problem: format!(
                    "names the unknown column `{}`, expected one of {}; other columns are indexed with `--columns`",
                    term.field,
                    names.join(", ")
                ),
            });
        }
        // A column may have no value at all.
        let none = Column::default();
        Ok(self.0.get(&term.field).unwrap_or(&none).select(term, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    #[test]
    fn rows_without_a_value_match_no_pattern() {
        let mut column = Column::default();
        for (row, value) in [(1, "a"), (2, "b"), (5, "a")] {
            column.set(row, value);
        }
        let rows = |filter: &str| {
            let filter = Filter::parse(filter).unwrap();
            column.select(&filter.terms()[0], 7).iter().collect::<Vec<_>>()
        };
        assert_eq!(rows("x=a"), [1, 5]);
        assert_eq!(rows("x=*"), [1, 2, 5]);
        assert_eq!(rows("x!=a"), [0, 2, 3, 4, 6]);
    }
}
