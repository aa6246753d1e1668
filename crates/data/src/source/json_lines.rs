//! JSON lines.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value};

use super::cell::{Cell, Row, Rows};
use super::lines::{Line, Lines};
use super::table::{Column, ColumnKind, Table};
use super::window::count;
use crate::DataError;
use crate::error::ensure_file;

/// A table with one JSON object per line. Blank lines are ignored; a row has the number of its line.
pub(super) struct JsonLines {
    path: PathBuf,
    columns: Vec<Column>,
    max: usize,
}

/// Number of rows from which the columns are inferred.
const SAMPLE: usize = 100;

impl JsonLines {
    pub(super) fn open(path: &Path, max: usize) -> Result<Self, DataError> {
        let mut columns = Vec::new();
        let mut known = HashSet::new();
        let mut objects = 0;
        for line in lines(path, max)?.take(SAMPLE) {
            let Ok(object) = line?.1.and_then(object) else { continue };
            objects += 1;
            for (name, _) in object {
                if known.insert(name.clone()) {
                    columns.push(Column { name, kind: ColumnKind::Text });
                }
            }
        }
        ensure_file(objects > 0, path, "the beginning", "without a JSON object", "one per line")?;
        Ok(Self { path: path.to_owned(), columns, max })
    }
}

impl Table for JsonLines {
    fn path(&self) -> &Path {
        &self.path
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn unit(&self) -> &'static str {
        "line"
    }

    fn count(&self) -> Result<u64, DataError> {
        count(lines(&self.path, self.max)?)
    }

    fn rows(&self, columns: &[usize], start: u64) -> Result<Rows, DataError> {
        let names: Vec<String> =
            columns.iter().filter_map(|&column| self.columns.get(column)).map(|c| c.name.clone()).collect();
        let cells = move |line: Line| {
            let object = object(line?)?;
            // Cloned, since a column may be both the path and the key.
            Ok(names.iter().map(|name| object.get(name).cloned().map_or(Cell::Missing, cell)).collect())
        };
        let mut rows = lines(&self.path, self.max)?;
        let mut left = start;
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                match rows.next()? {
                    Ok(_) if left > 0 => left -= 1,
                    line => return Some(line.map(|(number, line)| Row { number, cells: cells(line) })),
                }
            }
        })))
    }
}

/// Returns the non-blank lines with their line numbers, from 1.
fn lines(
    path: &Path,
    max: usize,
) -> Result<impl Iterator<Item = Result<(u64, Line), DataError>> + use<>, DataError> {
    let blank = |line: &Line| line.as_ref().is_ok_and(|line| line.iter().all(u8::is_ascii_whitespace));
    let numbered = Lines::open(path, max)?.zip(1u64..).map(|(line, number)| line.map(|line| (number, line)));
    Ok(numbered.filter(move |row| !row.as_ref().is_ok_and(|(_, line)| blank(line))))
}

fn object(line: Vec<u8>) -> Result<Map<String, Value>, String> {
    sail_support::json::from_slice(&line).map_err(|error| format!("the line is not a JSON object: {error}"))
}

pub(super) fn cell(value: Value) -> Cell {
    match value {
        Value::Array(values) => Cell::List(values.into_iter().map(single).collect()),
        value => single(value),
    }
}

/// Returns an integer in decimal. Python writes integers of columns with gaps as floats, such as `12.0`.
pub(super) fn integer(value: &Number) -> Option<String> {
    match value.as_f64().filter(|_| value.is_f64()) {
        None => Some(value.to_string()),
        Some(float) => (float.fract() == 0.0 && float.abs() < EXACT).then(|| format!("{float:.0}")),
    }
}

/// Integers below are exact as f64.
const EXACT: f64 = (1u64 << 53) as f64;

fn single(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Missing,
        Value::String(text) => Cell::Bytes(text.into_bytes()),
        Value::Number(value) => integer(&value).map_or_else(|| Cell::Float(value.to_string()), Cell::Integer),
        Value::Bool(value) => Cell::Boolean(value),
        Value::Object(_) => Cell::Other("an object"),
        Value::Array(_) => Cell::Other("a nested list"),
    }
}
