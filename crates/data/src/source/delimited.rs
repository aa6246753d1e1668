//! CSV and TSV.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use csv_core::ReadRecordResult;

use super::table::{Cell, Column, ColumnKind, Row, Rows, Table};
use super::text::{text, too_long};
use crate::DataError;
use crate::file::open_file;

/// A table with a header and optionally quoted fields (RFC 4180), which may contain line breaks. Empty lines are ignored.
pub(super) struct Delimited {
    path: PathBuf,
    delimiter: u8,
    columns: Vec<Column>,
    max: usize,
}

impl Delimited {
    pub(super) fn open(path: &Path, delimiter: u8, max: usize) -> Result<Self, DataError> {
        let mut parser = Parser::open(path, delimiter, max)?;
        let names: Result<Vec<String>, String> = match parser.next_row()? {
            Some(fields) => {
                fields.and_then(|names| names.into_iter().map(|name| text(name, "name")).collect())
            }
            None => Err("it is missing".to_owned()),
        };
        let names = names.map_err(|reason| DataError::Malformed {
            path: path.to_owned(),
            what: "the header".to_owned(),
            found: format!("invalid ({reason})"),
            expected: "column names in UTF-8".to_owned(),
        })?;
        let columns = names.into_iter().map(|name| Column { name, kind: ColumnKind::Text }).collect();
        Ok(Self { path: path.to_owned(), delimiter, columns, max })
    }

    /// Returns a parser after the header.
    fn parser(&self) -> Result<Parser, DataError> {
        let mut parser = Parser::open(&self.path, self.delimiter, self.max)?;
        parser.next_row()?;
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
        while parser.next_row()?.is_some() {
            rows += 1;
        }
        Ok(rows)
    }

    fn rows(&self, columns: &[usize], start: u64) -> Result<Rows, DataError> {
        let mut parser = self.parser()?;
        let (columns, width) = (columns.to_vec(), self.columns.len());
        let mut number = 0;
        let mut read = move || -> Result<Option<Row>, DataError> {
            while number < start {
                if parser.next_row()?.is_none() {
                    return Ok(None);
                }
                number += 1;
            }
            let Some(fields) = parser.next_row()? else { return Ok(None) };
            number += 1;
            let cells = fields.and_then(|fields| cells(fields, &columns, width));
            Ok(Some(Row { number, cells }))
        };
        Ok(Box::new(std::iter::from_fn(move || read().transpose())))
    }
}

fn cells(fields: Vec<Vec<u8>>, columns: &[usize], width: usize) -> Result<Vec<Cell>, String> {
    if fields.len() != width {
        return Err(format!("the row has {} fields, expected {width} as in the header", fields.len()));
    }
    Ok(columns.iter().filter_map(|&column| fields.get(column).cloned()).map(Cell::Bytes).collect())
}

/// The fields of a row, or the reason why it is skipped.
type Fields = Result<Vec<Vec<u8>>, String>;

/// Splits a file into rows. Bytes of a row after the first `max` are not stored, so an unclosed quote costs no memory.
struct Parser {
    file: BufReader<File>,
    path: PathBuf,
    csv: csv_core::Reader,
    max: usize,
    /// The concatenated fields of a row.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Maximum number of columns.
const MAX_COLUMNS: usize = 1 << 14;

impl Parser {
    fn open(path: &Path, delimiter: u8, max: usize) -> Result<Self, DataError> {
        Ok(Self {
            file: BufReader::new(open_file(path)?),
            path: path.to_owned(),
            csv: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            max,
            bytes: vec![0; max.clamp(64, 4096)],
            ends: vec![0; 64],
        })
    }

    fn next_row(&mut self) -> Result<Option<Fields>, DataError> {
        self.read().map_err(DataError::io(&self.path))
    }

    fn read(&mut self) -> io::Result<Option<Fields>> {
        // The used part of the buffers, and the length of the row.
        let (mut used, mut fields) = (0, 0);
        let (mut total, mut too_many) = (0u64, false);
        loop {
            let input = self.file.fill_buf()?;
            let (result, read, written, ended) =
                self.csv.read_record(input, &mut self.bytes[used..], &mut self.ends[fields..]);
            self.file.consume(read);
            used += written;
            fields += ended;
            total += written as u64;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < self.max => {
                    self.bytes.resize((self.bytes.len() * 2).min(self.max), 0);
                }
                ReadRecordResult::OutputFull => used = 0,
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_COLUMNS => {
                    self.ends.resize((self.ends.len() * 2).min(MAX_COLUMNS), 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    too_many = true;
                    fields = 0;
                }
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        if total > self.max as u64 {
            return Ok(Some(Err(too_long("row", total, self.max as u64))));
        }
        if too_many {
            return Ok(Some(Err(format!("the row has more than {MAX_COLUMNS} fields"))));
        }
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let spans = starts.zip(&self.ends).take(fields);
        Ok(Some(Ok(spans.map(|(start, &end)| self.bytes[start..end].to_vec()).collect())))
    }
}
