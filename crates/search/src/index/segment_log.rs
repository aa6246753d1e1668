//! The log of a segment that is not published yet.

use std::collections::HashMap;

use sail_support::hex;
use serde::{Deserialize, Serialize};

use super::content::{Content, HASH, Place, Stamp};

/// The rows of a segment that is not published yet, one JSON object a line. A segment with this file can be continued.
pub(crate) const LOG: &str = "rows.jsonl";

/// A row of a segment without its embedding.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) content: Content,
    pub(crate) thumbnail: Vec<u8>,
}

/// A line of the log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    key: String,
    sha256: String,
    bytes: u64,
    modified: u64,
    place: u8,
    path: String,
    /// Length of the thumbnail in bytes.
    pub(super) thumbnail: u64,
}

impl Line {
    pub(super) fn new(row: &Row) -> Self {
        let (place, path) = row.content.place.parts();
        let Stamp { bytes, modified } = row.content.stamp;
        let (key, sha256, path) = (row.key.clone(), hex(&row.content.sha256), path.to_owned());
        Self { key, sha256, bytes, modified, place, path, thumbnail: row.thumbnail.len() as u64 }
    }

    /// The key and the content, or `None` for a line that no writer has written.
    pub(super) fn parse(self) -> Option<(String, Content)> {
        let mut sha256 = [0; HASH];
        let digits = self.sha256.as_bytes().as_chunks::<2>().0;
        if self.sha256.len() != 2 * HASH || !self.sha256.is_ascii() {
            return None;
        }
        for (byte, digits) in sha256.iter_mut().zip(digits) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        let stamp = Stamp { bytes: self.bytes, modified: self.modified };
        Some((self.key, Content { sha256, stamp, place: Place::from_parts(self.place, self.path)? }))
    }
}

/// The rows that an unfinished segment has already.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    pub(super) rows: Vec<Content>,
    pub(super) by_key: HashMap<String, usize>,
}

impl Resumed {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of a key and its content.
    pub(crate) fn row(&self, key: &str) -> Option<(usize, &Content)> {
        let &row = self.by_key.get(key)?;
        Some((row, &self.rows[row]))
    }
}
