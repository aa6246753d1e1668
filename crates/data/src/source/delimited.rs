//! CSV and TSV.

use std::path::{Path, PathBuf};

use super::cell::Cell;
use super::physical_lines::PhysicalLines;
use super::quoted_rows::{Fields, QuotedRows};
use super::table::{CAPTION_COLUMNS, Column, ColumnKind, IMAGE_COLUMNS, Row, Rows, Table};
use super::text::text;
use crate::DataError;

/// How a file is divided into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) delimiter: u8,
    pub(super) header: bool,
    pub(super) quotes: bool,
    /// Whether spaces after a delimiter are not part of the field.
    pub(super) trim: bool,
    /// Whether the first column is the name of an image, `#` and the number of the caption, as in Flickr8k's
    /// `Flickr8k.token.txt`.
    numbered: bool,
}

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

impl Layout {
    /// Detects the layout of a file by its extension and its first line. Returns `None` for text that is not a table.
    pub(super) fn detect(
        path: &Path,
        header: bool,
        quotes: bool,
        max: usize,
    ) -> Result<Option<Self>, DataError> {
        let suffix = path.extension().unwrap_or_default().to_ascii_lowercase();
        let line = PhysicalLines::open(path, max)?.next_line().map_err(DataError::io(path))?;
        let line = line.map(|line| line.bytes).unwrap_or_default();
        let line = line.trim_ascii_end();
        let usual = if suffix == "tsv" { b'\t' } else { b',' };
        // Without a header, any character may be in a caption.
        let found =
            if header { DELIMITERS.iter().copied().find(|delimiter| line.contains(delimiter)) } else { None };
        let delimiter = if line.contains(&usual) { usual } else { found.unwrap_or(usual) };
        let names: Vec<&[u8]> = line.split(|&byte| byte == delimiter).collect();
        let trim = header && names.len() > 1 && names[1..].iter().all(|name| name.starts_with(b" "));
        let layout = Self { delimiter, header, quotes, trim, numbered: false };
        if suffix != "txt" {
            return Ok(Some(layout));
        }
        let numbered = line.split(|&byte| byte == b'\t').next().is_some_and(|first| {
            let name = first.iter().rposition(|&byte| byte == b'#').map(|at| first.split_at(at));
            name.is_some_and(|(name, number)| {
                let name = std::str::from_utf8(name).is_ok_and(super::image_root::is_image_name);
                name && number.len() > 1
                    && number[1..].iter().all(u8::is_ascii_digit)
                    && first.len() < line.len()
            })
        });
        if numbered {
            let (delimiter, header, quotes) = (b'\t', false, false);
            return Ok(Some(Self { delimiter, header, quotes, trim: false, numbered }));
        }
        let is = |name: &[u8], usual: &str| {
            let name = name.trim_ascii();
            let quoted = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
            quoted.unwrap_or(name) == usual.as_bytes()
        };
        let has = |usual: &[&str]| names.iter().any(|name| usual.iter().any(|usual| is(name, usual)));
        Ok((header && has(&IMAGE_COLUMNS) && has(&CAPTION_COLUMNS)).then_some(layout))
    }
}

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
