//! Parquet.
//!
//! Files are untrusted, and the `parquet` crate allocates for sizes that a file states and recurses into its schema. So the
//! footer, the headers of pages and their decompression are read here, with bounds; the crate decodes the values of a page.

use std::path::{Path, PathBuf};
use std::sync::Arc;

mod codec;
mod column;
mod levels;
mod metadata;
mod page;
mod thrift;
mod values;

use self::column::ColumnReader;
use self::metadata::{Group, Leaf, Metadata};
use self::page::Pages;
use super::cell::{Cell, Row, Rows};
use super::options::SourceOptions;
use super::table::{Column, ColumnKind, Table};
use crate::DataError;
use crate::file::open_file;

/// Columns of text, bytes, numbers and booleans, lists of them, and structs of an image.
pub(super) struct Parquet(Arc<Inner>);

struct Inner {
    path: PathBuf,
    metadata: Metadata,
    columns: Vec<Column>,
    /// For each column, the leaves that it consists of.
    parts: Vec<Parts>,
    max_image_bytes: u64,
    max_text_bytes: u64,
}

/// The leaves of a column.
#[derive(Clone, Copy)]
struct Parts {
    leaf: usize,
    /// The path of an image without bytes.
    path: Option<usize>,
}

impl Parquet {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        let damaged = |reason| DataError::Damaged { path: path.to_owned(), reason };
        let metadata = Metadata::read(&mut open_file(path)?).map_err(damaged)?;
        let (mut columns, mut parts) = (Vec::new(), Vec::new());
        for (leaf, Leaf { name, kind, .. }) in metadata.leaves.iter().enumerate() {
            columns.push(Column { name: name.clone(), kind: *kind });
            parts.push(Parts { leaf, path: None });
        }
        for (name, image) in images(&metadata.leaves) {
            columns.push(Column { name, kind: ColumnKind::Image });
            parts.push(image);
        }
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            metadata,
            columns,
            parts,
            max_image_bytes: options.max_image_bytes,
            max_text_bytes: options.max_text_bytes as u64,
        })))
    }
}

/// Returns the structs with the bytes of an image and perhaps its path, as the library `datasets` writes them.
fn images(leaves: &[Leaf]) -> Vec<(String, Parts)> {
    let find = |name: &str, kind| {
        leaves.iter().position(|leaf| leaf.name == name && leaf.kind == kind && !leaf.repeated)
    };
    let structs = leaves.iter().filter_map(|leaf| leaf.name.strip_suffix(".bytes"));
    let images = structs.filter_map(|name| {
        let leaf = find(&format!("{name}.bytes"), ColumnKind::Bytes)?;
        Some((name.to_owned(), Parts { leaf, path: find(&format!("{name}.path"), ColumnKind::Text) }))
    });
    images.collect()
}

impl Table for Parquet {
    fn path(&self) -> &Path {
        &self.0.path
    }

    fn columns(&self) -> &[Column] {
        &self.0.columns
    }

    fn unit(&self) -> &'static str {
        "row"
    }

    fn count(&self) -> Result<u64, DataError> {
        Ok(self.0.metadata.groups.iter().map(|group| group.rows).sum())
    }

    fn rows(&self, columns: &[usize], start: u64) -> Result<Rows, DataError> {
        let groups = &self.0.metadata.groups;
        // Skipped row groups are not read.
        let mut skip = start;
        let first = groups
            .iter()
            .take_while(|group| {
                group.rows <= skip && {
                    skip -= group.rows;
                    true
                }
            })
            .count();
        Ok(Box::new(Walk {
            table: Arc::clone(&self.0),
            columns: columns.to_vec(),
            number: start - skip,
            skip,
            group: first,
            left: 0,
            readers: Vec::new(),
            done: false,
        }))
    }

    fn skippable(&self, columns: &[usize], value: u64) -> (u64, u64) {
        let (mut rows, mut values) = (0, 0u64);
        for group in &self.0.metadata.groups {
            let in_group: u64 =
                columns.iter().map(|&column| group.chunks[self.0.parts[column].leaf].values).sum();
            match values.checked_add(in_group) {
                Some(sum) if sum <= value => values = sum,
                _ => break,
            }
            rows += group.rows;
        }
        (rows, values)
    }
}

/// Iterates over rows, one row group at a time.
struct Walk {
    table: Arc<Inner>,
    columns: Vec<usize>,
    /// The number of the last row.
    number: u64,
    /// Rows to skip in the first row group.
    skip: u64,
    /// The next row group.
    group: usize,
    /// Remaining rows of the current one.
    left: u64,
    readers: Vec<Reader>,
    done: bool,
}

impl Walk {
    fn row(&mut self) -> Result<Option<Row>, DataError> {
        while self.left == 0 {
            for (reader, &column) in self.readers.iter_mut().zip(&self.columns) {
                reader.finish().map_err(|reason| self.table.damaged(column, self.number, &reason))?;
            }
            let table = Arc::clone(&self.table);
            let Some(group) = table.metadata.groups.get(self.group) else { return Ok(None) };
            self.group += 1;
            self.enter(group)?;
        }
        self.left -= 1;
        self.number += 1;
        let mut cells = Vec::with_capacity(self.columns.len());
        for (reader, &column) in self.readers.iter_mut().zip(&self.columns) {
            let cell = reader.cell().map_err(|reason| self.table.damaged(column, self.number, &reason))?;
            cells.push(cell);
        }
        Ok(Some(Row { number: self.number, cells: Ok(cells) }))
    }

    fn enter(&mut self, group: &Group) -> Result<(), DataError> {
        let skip = std::mem::take(&mut self.skip);
        self.readers.clear();
        for &column in &self.columns {
            let Parts { leaf, path } = self.table.parts[column];
            let open = |leaf: usize| -> Result<ColumnReader, DataError> {
                let damaged = |reason: String| self.table.damaged(column, self.number + 1, &reason);
                let mut reader = self.table.reader(group, leaf)?.map_err(damaged)?;
                reader.skip(skip).map_err(damaged)?;
                Ok(reader)
            };
            self.readers.push(Reader { value: open(leaf)?, path: path.map(open).transpose()? });
        }
        self.left = group.rows - skip;
        self.number += skip;
        Ok(())
    }
}

/// Reads the cells of a column.
struct Reader {
    value: ColumnReader,
    path: Option<ColumnReader>,
}

impl Reader {
    fn cell(&mut self) -> Result<Cell, String> {
        let value = self.value.cell()?;
        let path = self.path.as_mut().map(ColumnReader::cell).transpose()?;
        Ok(match (value, path) {
            (Cell::Missing, Some(Cell::Bytes(path))) => Cell::Path(path),
            (value, _) => value,
        })
    }

    fn finish(&mut self) -> Result<(), String> {
        self.value.finish()?;
        self.path.as_mut().map_or(Ok(()), ColumnReader::finish)
    }
}

impl Inner {
    fn reader(&self, group: &Group, leaf: usize) -> Result<Result<ColumnReader, String>, DataError> {
        let (chunk, leaf) = (&group.chunks[leaf], &self.metadata.leaves[leaf]);
        let max = match leaf.kind {
            ColumnKind::Text => self.max_text_bytes,
            ColumnKind::Bytes | ColumnKind::Image => self.max_image_bytes.max(self.max_text_bytes),
        };
        let pages = Pages::new(open_file(&self.path)?, chunk);
        Ok(ColumnReader::new(pages, leaf.clone(), chunk, max))
    }

    fn damaged(&self, column: usize, row: u64, reason: &str) -> DataError {
        let name = &self.columns[column].name;
        DataError::Damaged {
            path: self.path.clone(),
            reason: format!("column `{name}` near row {row}: {reason}"),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let row = self.row();
        self.done = !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}
