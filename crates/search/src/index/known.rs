//! What an index knows about the content of its images.

use std::collections::HashMap;

use super::content::{HASH, Place, Stamp};
use super::entry::EntryId;
use super::error::IndexError;
use super::read::Index;

/// The first half of a SHA-256, which is enough to recognize a content.
pub(crate) type ContentHash = [u8; 16];

/// Returns the part of a SHA-256 that is kept in memory.
pub(crate) fn content_hash(sha256: &[u8; HASH]) -> ContentHash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&sha256[..16]);
    hash
}

/// The images of an index, by key and by content: 80 bytes each, and the paths that are not their keys.
#[derive(Default)]
pub(crate) struct Known {
    rows: Vec<(Stamp, ContentHash)>,
    /// Number of the kind of each place.
    kinds: Vec<u8>,
    /// The places that have a text.
    places: HashMap<u32, Place>,
    /// Live rows by id.
    ids: Vec<(EntryId, u32)>,
    /// All rows by content.
    contents: Vec<(ContentHash, u32)>,
}

impl Known {
    pub(crate) fn new(index: Option<&Index>) -> Result<Self, IndexError> {
        let mut known = Self::default();
        let Some(index) = index else { return Ok(known) };
        known.rows.reserve_exact(index.rows());
        known.kinds.reserve_exact(index.rows());
        for (start, segment) in index.segments() {
            for (content, row) in segment.contents()?.into_iter().zip(start as u32..) {
                known.rows.push((content.stamp, content_hash(&content.sha256)));
                known.kinds.push(content.place.parts().0);
                if !content.place.parts().1.is_empty() {
                    known.places.insert(row, content.place);
                }
            }
            let live = segment.ids()?.into_iter().zip(start as u32..);
            known.ids.extend(live.filter(|(_, row)| index.live().contains(*row as usize)));
        }
        known.ids.sort_unstable();
        known.contents = known.rows.iter().map(|(_, hash)| *hash).zip(0..).collect();
        known.contents.sort_unstable();
        Ok(known)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The live row of a key.
    pub(crate) fn row(&self, key: &str) -> Option<u32> {
        let id = EntryId::of(key);
        let found = self.ids.partition_point(|(other, _)| *other <= id).checked_sub(1)?;
        self.ids.get(found).filter(|(other, _)| *other == id).map(|(_, row)| *row)
    }

    pub(crate) fn stamp(&self, row: u32) -> Option<Stamp> {
        self.rows.get(row as usize).map(|(stamp, _)| *stamp)
    }

    pub(crate) fn content(&self, row: u32) -> Option<ContentHash> {
        self.rows.get(row as usize).map(|(_, hash)| *hash)
    }

    /// The rows of a content, removed or not, in ascending order.
    pub(crate) fn rows_of(&self, content: ContentHash) -> impl Iterator<Item = u32> {
        let start = self.contents.partition_point(|(other, _)| *other < content);
        let rows = self.contents.get(start..).unwrap_or_default().iter();
        rows.take_while(move |(other, _)| *other == content).map(|(_, row)| *row)
    }

    /// Whether the bytes of a row are at a place.
    pub(crate) fn is_at(&self, row: u32, place: &Place) -> bool {
        match self.places.get(&row) {
            Some(known) => known == place,
            None => place.parts() == (self.kinds.get(row as usize).copied().unwrap_or_default(), ""),
        }
    }
}

/// Contents of rows that were written since an index was opened.
pub(crate) type NewContents = HashMap<ContentHash, u32>;

/// Copies embeddings of rows.
pub(crate) fn embeddings(index: &Index, rows: &[usize]) -> Result<Vec<f32>, IndexError> {
    let source = index.embeddings();
    let mut values = vec![0.0; rows.len() * source.dim()];
    source.gather(rows, &mut values).map_err(sail_data::DataError::from)?;
    Ok(values)
}
