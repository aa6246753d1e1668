//! CSV and TSV.

use std::path::{Path, PathBuf};

use super::cell::{Cell, Row, Rows};
use super::layout::Layout;
use super::quoted_rows::{Fields, QuotedRows};
use super::table::{Column, ColumnKind, Table};
use super::text::text;
use crate::DataError;

/// A table, optionally with a header. Fields may be quoted (RFC 4180) and then contain line breaks. Empty lines are ignored.
pub(super) struct Delimited {
    path: PathBuf,
    layout: Layout,
    columns: Vec<Column>,
    max: usize,
}

impl Delimited {
    pub(super) fn open(path: &Path, layout: Layout, max: usize) -> Result<Self, DataError> {
        let mut rows = QuotedRows::open(path, layout, max)?;
        let mut next = || rows.next_row().map_err(DataError::io(path));
        let mut first = next()?;
        // Without a header, the first row that can be read states their number.
        while let (false, Some(Err(_))) = (layout.header, &first) {
            first = next()?;
        }
        let first = first.unwrap_or_else(|| Err("it is missing".to_owned()));
        let names: Result<Vec<String>, String> = first.and_then(|fields| match layout {
            Layout { numbered: true, .. } => Ok(vec!["image".to_owned(), "caption".to_owned()]),
            Layout { header: false, .. } => Ok((1..=fields.len()).map(|number| number.to_string()).collect()),
            _ => fields.into_iter().map(|name| text(name, "name")).collect(),
        });
        let names = names.map_err(|reason| DataError::Malformed {
            path: path.to_owned(),
            what: if layout.header { "the header" } else { "the first row" }.to_owned(),
            found: format!("invalid ({reason})"),
            expected: "column names in UTF-8".to_owned(),
        })?;
        let columns = names.into_iter().map(|name| Column { name, kind: ColumnKind::Text }).collect();
        Ok(Self { path: path.to_owned(), layout, columns, max })
    }

    /// Returns the rows after the header.
    fn parser(&self) -> Result<QuotedRows, DataError> {
        let mut parser = QuotedRows::open(&self.path, self.layout, self.max)?;
        if self.layout.header {
            parser.next_row().map_err(DataError::io(&self.path))?;
        }
        Ok(parser)
    }
}

impl Table for Delimited {
    fn path(&self) -> &Path {
        &self.path
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn unit(&self) -> &'static str {
        "row"
    }

    fn count(&self) -> Result<u64, DataError> {
        let mut parser = self.parser()?;
        let mut rows = 0;
        while parser.next_row().map_err(DataError::io(&self.path))?.is_some() {
            rows += 1;
        }
        Ok(rows)
    }

    fn rows(&self, columns: &[usize], start: u64) -> Result<Rows, DataError> {
        let mut parser = self.parser()?;
        let (columns, width, path) = (columns.to_vec(), self.columns.len(), self.path.clone());
        let numbered = self.layout.numbered;
        let mut number = 0;
        let mut read = move || -> Result<Option<Row>, DataError> {
            loop {
                let Some(fields) = parser.next_row().map_err(DataError::io(&path))? else { return Ok(None) };
                number += 1;
                if number > start {
                    let cells = fields.and_then(|fields| cells(fields, &columns, width, numbered));
                    return Ok(Some(Row { number, cells }));
                }
            }
        };
        Ok(Box::new(std::iter::from_fn(move || read().transpose())))
    }
}

fn cells(mut fields: Fields, columns: &[usize], width: usize, numbered: bool) -> Result<Vec<Cell>, String> {
    if fields.len() != width {
        return Err(format!("the row has {} fields, expected {width} as in the first row", fields.len()));
    }
    if numbered && let Some(first) = fields.first_mut() {
        let name = first.iter().rposition(|&byte| byte == b'#');
        first.truncate(name.unwrap_or(first.len()));
    }
    Ok(columns.iter().filter_map(|&column| fields.get(column).cloned()).map(Cell::Bytes).collect())
}
