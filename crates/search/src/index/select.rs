//! The rows that fulfil a filter.

use sail_data::DataError;
use sail_support::ranges;

use super::columns::{Column, Columns};
use super::entry::class_of;
use super::error::IndexError;
use super::filter::{Filter, Term};
use super::read::{Index, once};
use crate::RowSet;

/// Rows whose keys are read at once.
const KEYS: usize = 4096;

impl Index {
    /// Returns the rows that are not removed and fulfil a filter.
    ///
    /// # Errors
    /// [`IndexError::Filter`] for an unknown column, and errors of reading.
    pub fn select(&self, filter: &Filter) -> Result<RowSet, IndexError> {
        let mut rows = self.live().clone();
        for term in filter.terms() {
            rows.intersect(&self.select_term(term, &rows)?);
        }
        Ok(rows)
    }

    fn select_term(&self, term: &Term, rows: &RowSet) -> Result<RowSet, IndexError> {
        match term.field.as_str() {
            "key" => {
                let mut selected = RowSet::empty(self.rows());
                self.each_key(rows, |row, key| {
                    if term.holds(Some(key)) {
                        selected.insert(row);
                    }
                })?;
                Ok(selected)
            }
            "class" => Ok(self.classes()?.select(term, self.rows())),
            _ => self.columns()?.select(term, self.rows(), &self.manifest().columns),
        }
    }

    fn each_key(&self, rows: &RowSet, mut work: impl FnMut(usize, &str)) -> Result<(), IndexError> {
        let embeddings = self.embeddings();
        for block in ranges(self.rows(), KEYS) {
            let block: Vec<usize> = block.filter(|&row| rows.contains(row)).collect();
            let keys = embeddings.keys(&block).map_err(DataError::from)?;
            block.iter().zip(&keys).for_each(|(&row, key)| work(row, key));
        }
        Ok(())
    }

    fn classes(&self) -> Result<&Column, IndexError> {
        once(&self.classes, || {
            let mut classes = Column::default();
            self.each_key(self.live(), |row, key| classes.set(row, class_of(key)))?;
            Ok(classes)
        })
    }

    fn columns(&self) -> Result<&Columns, IndexError> {
        once(&self.columns, || {
            let mut columns = Columns::default();
            for (start, segment) in self.segments() {
                if let Some(notes) = segment.notes() {
                    notes.each(|row, note| {
                        columns.add(start + row, &note);
                        Ok(())
                    })?;
                }
            }
            Ok(columns)
        })
    }
}
