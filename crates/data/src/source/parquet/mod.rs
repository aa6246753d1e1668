//! Parquet.
//!
//! An own reader for the few types of columns in datasets of images and captions, since files are untrusted: its memory is
//! bounded by the size of a page, and it does not panic on any file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

mod column;
mod hybrid;
mod metadata;
mod page;
mod thrift;

use self::column::ColumnReader;
use self::metadata::{Group, Leaf, Metadata};
use self::page::Pages;
use super::options::SourceOptions;
use super::table::{Column, ColumnKind, Row, Rows, Table};
use crate::DataError;
use crate::file::open_file;

/// Columns of text, bytes and integers, and lists of them, with plain or dictionary encoding; uncompressed or compressed with
/// Snappy, Gzip or Zstandard.
pub(super) struct Parquet(Arc<Inner>);

struct Inner {
    path: PathBuf,
    metadata: Metadata,
    columns: Vec<Column>,
    max_image_bytes: u64,
    max_text_bytes: u64,
}

impl Parquet {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        let damaged = |reason| DataError::Damaged { path: path.to_owned(), reason };
        let metadata = Metadata::read(&mut open_file(path)?).map_err(damaged)?;
        let column = |leaf: &Leaf| Column { name: leaf.name.clone(), kind: leaf.kind };
        let columns = metadata.leaves.iter().map(column).collect();
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            metadata,
            columns,
            max_image_bytes: options.max_image_bytes,
            max_text_bytes: options.max_text_bytes as u64,
        })))
    }
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
            let in_group: u64 = columns.iter().map(|&column| group.chunks[column].values).sum();
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
    readers: Vec<ColumnReader>,
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
            let (leaf, chunk) = (&self.table.metadata.leaves[column], &group.chunks[column]);
            let max = match leaf.kind {
                ColumnKind::Text => self.table.max_text_bytes,
                ColumnKind::Bytes => self.table.max_image_bytes.max(self.table.max_text_bytes),
            };
            let pages = Pages::new(open_file(&self.table.path)?, chunk);
            let mut reader = ColumnReader::new(pages, leaf.clone(), chunk, max);
            let skipped = if leaf.repeated {
                (0..skip).try_for_each(|_| reader.cell().map(drop))
            } else {
                reader.skip(skip)
            };
            skipped.map_err(|reason| self.table.damaged(column, self.number + 1, &reason))?;
            self.readers.push(reader);
        }
        self.left = group.rows - skip;
        self.number += skip;
        Ok(())
    }
}

impl Inner {
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
