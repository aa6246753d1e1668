//! Captions and columns of the rows of a segment.

use std::collections::BTreeMap;
use std::path::Path;

use sail_data::{Array, ArrayFile, DataError, write_arrays};
use sail_support::ranges;
use serde::{Deserialize, Serialize};

use super::error::{IndexError, ensure};
use super::text::text;

const OFFSETS: &str = "offsets";
const JSON: &str = "json";
/// Captions and columns of a row in bytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// Rows that are read at once.
const ROWS: usize = 1024;

/// The captions and the columns of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) captions: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) columns: BTreeMap<String, String>,
}

/// The notes of a segment: a JSON object per row, or nothing.
#[derive(Debug)]
pub(crate) struct Notes {
    arrays: ArrayFile,
}

impl Notes {
    pub(crate) fn open(path: &Path, rows: usize) -> Result<Self, IndexError> {
        let arrays = ArrayFile::open(path)?;
        arrays.check_integers(OFFSETS, rows + 1)?;
        Ok(Self { arrays })
    }

    pub(crate) fn read(&self, row: usize) -> Result<Note, IndexError> {
        self.parse(row, text(&self.arrays, OFFSETS, JSON, row, MAX_BYTES)?.as_bytes())
    }

    /// Calls a function with the note of every row, in order.
    pub(crate) fn each(
        &self,
        mut work: impl FnMut(usize, Note) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let rows = self.arrays.length(OFFSETS)?.saturating_sub(1);
        for rows in ranges(rows, ROWS) {
            let offsets = self.arrays.integers(OFFSETS, rows.start..rows.end + 1)?;
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            let is_sorted = offsets.is_sorted();
            ensure(
                is_sorted,
                self.arrays.path(),
                format!("`{OFFSETS}`"),
                "not ascending",
                "ascending offsets",
            )?;
            let json = self.arrays.bytes(JSON, first..last)?;
            for (row, range) in rows.zip(offsets.windows(2)) {
                let range = range[0] as usize - first..range[1] as usize - first;
                work(row, self.parse(row, &json[range])?)?;
            }
        }
        Ok(())
    }

    fn parse(&self, row: usize, json: &[u8]) -> Result<Note, IndexError> {
        if json.is_empty() {
            return Ok(Note::default());
        }
        serde_json::from_slice(json).map_err(|error| IndexError::Damaged {
            path: self.arrays.path().to_owned(),
            what: format!("`{JSON}` of row {row}"),
            found: error.to_string(),
            expected: "captions and columns".to_owned(),
        })
    }
}

/// Writes the notes of a segment and returns the SHA-256 of the file.
pub(crate) fn write<'a>(
    path: &Path,
    notes: impl IntoIterator<Item = &'a Note>,
) -> Result<String, IndexError> {
    let (mut offsets, mut json) = (vec![0], Vec::new());
    for note in notes {
        if *note != Note::default() {
            serde_json::to_writer(&mut json, note).map_err(|error| {
                IndexError::Data(DataError::Io { path: path.to_owned(), source: error.into() })
            })?;
        }
        offsets.push(json.len() as u64);
    }
    let arrays = [(OFFSETS, Array::Integers(&offsets)), (JSON, Array::Bytes { width: 1, values: &json })];
    Ok(write_arrays(path, &arrays)?)
}
