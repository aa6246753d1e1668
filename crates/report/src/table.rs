//! Tables.

use std::fmt::{self, Formatter};

use crate::error::ReportError;
use crate::escape::Escaped;

/// A table whose first column contains the names of the rows.
///
/// Numeric columns are right-aligned with tabular digits. A number may have a sign, a percent sign, thousands separators
/// (commas), or a spread after `±`; empty cells, dashes and `n/a` are missing values. Any other cell makes a column a text
/// column. Use the same number of decimals within a column to align them.
///
/// # Examples
/// ```
/// let table = sail_report::Table::new(["head", "parameters", "R@1"])
///     .row(["linear", "1,376", "14.2 ± 0.3"])
///     .row(["GLU", "98,304", "18.6 ± 0.2"])
///     .higher_is_better(["R@1"])
///     .caption("Recall in percent, three seeds.");
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    ranked: Vec<(String, Better)>,
    caption: String,
}

#[derive(Clone, Copy, Debug)]
enum Better {
    Higher,
    Lower,
}

impl Table {
    /// Creates a table with these columns and no rows.
    pub fn new<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        Self {
            columns: columns.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
            ranked: Vec::new(),
            caption: String::new(),
        }
    }

    /// Adds a row with one cell per column.
    pub fn row<C: Into<String>>(mut self, cells: impl IntoIterator<Item = C>) -> Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Emphasises the highest value of the named columns, and marks their headings.
    ///
    /// Ties are all emphasised; columns with fewer than two finite values have no emphasis.
    pub fn higher_is_better<C: Into<String>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        self.rank(columns, Better::Higher)
    }

    /// Emphasises the lowest value of the named columns; see [`higher_is_better`](Self::higher_is_better).
    pub fn lower_is_better<C: Into<String>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        self.rank(columns, Better::Lower)
    }

    /// Sets the caption.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    fn rank<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>, better: Better) -> Self {
        self.ranked.extend(columns.into_iter().map(|column| (column.into(), better)));
        self
    }

    pub(crate) fn check(&self) -> Result<(), ReportError> {
        let columns = || self.columns.join(", ");
        if let Some((found, _)) = self.ranked.iter().find(|(column, _)| !self.columns.contains(column)) {
            return Err(ReportError::UnknownColumn { columns: columns(), found: found.clone() });
        }
        let expected = self.columns.len();
        match self.rows.iter().enumerate().find(|(_, row)| row.len() != expected) {
            Some((row, cells)) => {
                let (row, found) = (row + 1, cells.len());
                Err(ReportError::RowLength { columns: columns(), row, expected, found })
            }
            None => Ok(()),
        }
    }

    pub(crate) fn render(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let columns: Vec<Column> = (0..self.columns.len()).map(|index| self.column(index)).collect();
        let label = if self.caption.is_empty() { self.columns.join(", ") } else { self.caption.clone() };
        let label = Escaped(&label);
        writeln!(
            out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">\n<table>"
        )?;
        if !self.caption.is_empty() {
            writeln!(out, "<caption>{}</caption>", Escaped(&self.caption))?;
        }
        out.write_str("<thead>\n<tr>")?;
        for (name, column) in self.columns.iter().zip(&columns) {
            let sign = match column.better {
                Some(Better::Higher) => {
                    " <span class=\"sense\" title=\"higher is better\" aria-hidden=\"true\">↑</span>\
                     <span class=\"said\">(higher is better)</span>"
                }
                Some(Better::Lower) => {
                    " <span class=\"sense\" title=\"lower is better\" aria-hidden=\"true\">↓</span>\
                     <span class=\"said\">(lower is better)</span>"
                }
                None => "",
            };
            write!(out, "<th scope=\"col\"{}>{}{sign}</th>", column.class(), Escaped(name))?;
        }
        out.write_str("</tr>\n</thead>\n<tbody>\n")?;
        for row in &self.rows {
            out.write_str("<tr>")?;
            for (index, (cell, column)) in row.iter().zip(&columns).enumerate() {
                let (class, text) = (column.class(), Escaped(cell));
                let best = column.best.is_some() && number(cell) == column.best;
                match (index, best) {
                    (0, _) => write!(out, "<th scope=\"row\"{class}>{text}</th>")?,
                    (_, true) => write!(
                        out,
                        "<td{class}><strong>{text}</strong><span class=\"said\"> (best)</span></td>"
                    )?,
                    (_, false) => write!(out, "<td{class}>{text}</td>")?,
                }
            }
            out.write_str("</tr>\n")?;
        }
        if self.rows.is_empty() {
            writeln!(out, "<tr><td colspan=\"{}\">No rows.</td></tr>", self.columns.len().max(1))?;
        }
        out.write_str("</tbody>\n</table>\n</div>\n")
    }

    fn column(&self, index: usize) -> Column {
        let cells = || self.rows.iter().map(|row| row[index].as_str());
        let numeric = cells().any(|cell| number(cell).is_some())
            && cells().all(|cell| number(cell).is_some() || is_missing(cell));
        let ranked = self.ranked.iter().find(|(name, _)| *name == self.columns[index]);
        let better = ranked.map(|(_, better)| *better);
        let numbers: Vec<f64> = cells().filter_map(number).filter(|number| number.is_finite()).collect();
        let best = match better {
            Some(Better::Higher) if numbers.len() > 1 => numbers.into_iter().reduce(f64::max),
            Some(Better::Lower) if numbers.len() > 1 => numbers.into_iter().reduce(f64::min),
            _ => None,
        };
        Column { numeric, better, best }
    }
}

struct Column {
    numeric: bool,
    better: Option<Better>,
    best: Option<f64>,
}

impl Column {
    fn class(&self) -> &'static str {
        if self.numeric { " class=\"number\"" } else { "" }
    }
}

fn is_missing(cell: &str) -> bool {
    matches!(cell.trim(), "" | "-" | "–" | "—" | "−" | "n/a" | "N/A")
}

/// Parses the number of a cell in the formats of [`Table`].
fn number(cell: &str) -> Option<f64> {
    let value = cell.split('±').next().unwrap_or(cell).trim();
    let value = value.strip_suffix('%').unwrap_or(value).trim_end().replace('\u{2212}', "-");
    let digits = value.trim_start_matches(['+', '-']);
    let whole = digits.split('.').next().unwrap_or(digits);
    if whole.contains(',') {
        // A comma is valid only as thousands separator: "1,5" is not 15.
        let mut groups = whole.split(',');
        let first = groups.next().is_some_and(|group| (1..=3).contains(&group.len()));
        if !first || groups.any(|group| group.len() != 3) {
            return None;
        }
        return value.replace(',', "").parse().ok();
    }
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_formatted_numbers() {
        let read = [
            ("14.2", 14.2),
            (" +3 ", 3.0),
            ("\u{2212}0.5", -0.5),
            ("1,376", 1376.0),
            ("-12,345,678.25", -12_345_678.25),
            ("84.1 %", 84.1),
            ("14.2 ± 0.3", 14.2),
            ("1e-5", 1e-5),
        ];
        for (cell, expected) in read {
            assert_eq!(number(cell), Some(expected), "{cell:?}");
        }
        for cell in ["", "1,5", "1,3765", "1234,567", "12 s", "GLU", "1.2.3", ",123", "-"] {
            assert_eq!(number(cell), None, "{cell:?}");
        }
        assert_eq!(number("inf"), Some(f64::INFINITY));
    }

    fn rendered(table: &Table) -> String {
        fmt::from_fn(|out| table.render(out)).to_string()
    }

    fn emphasised(table: &Table) -> Vec<String> {
        let html = rendered(table);
        let parts = html.split("<strong>").skip(1);
        parts.filter_map(|part| part.split("</strong>").next()).map(str::to_owned).collect()
    }

    #[test]
    fn the_best_values_of_ranked_columns_are_emphasised() {
        let table = Table::new(["head", "R@1", "rank", "R@10", "name"])
            .row(["a", "9.5", "30", "1", "x"])
            .row(["b", "10.5", "4", "NaN", "y"])
            .row(["c", "10.50", "n/a", "inf", "z"])
            .higher_is_better(["R@1", "R@10", "name"])
            .lower_is_better(["rank"]);
        // As text "9.5" would exceed "10.5"; R@10 has a single finite value.
        assert_eq!(emphasised(&table), ["10.5", "4", "10.50"]);
    }

    #[test]
    fn numeric_columns_have_the_class_number() {
        let html =
            rendered(&Table::new(["head", "R@1", "seconds"]).row(["a", "1.0", "3 s"]).row(["b", "–", "4 s"]));
        assert!(html.contains("<th scope=\"col\">head</th>"));
        assert!(html.contains("<th scope=\"col\" class=\"number\">R@1</th>"));
        assert!(html.contains("<th scope=\"col\">seconds</th>"));
        assert!(html.contains("<td class=\"number\">–</td>"));
    }
}
