//! A segment: embeddings, and what belongs to them.

use std::fs::File;
use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, Modality, StoreDtype};
use sail_data::{ArrayFile, EmbeddingStore};

use super::content::{Content, HASH, Place, Stamp};
use super::entry::EntryId;
use super::error::{IndexError, ensure};
use super::manifest::SegmentEntry;
use super::notes::{Note, Notes};
use super::text::text;
use crate::CodeKind;

/// What the rows of a segment are: ids, content, files and thumbnails.
pub(crate) const ROWS: &str = "rows.safetensors";
/// The thumbnails, one JPEG after the other.
pub(crate) const THUMBNAILS: &str = "thumbnails.jpgs";

/// The codes of the rows for a search.
pub(crate) const CODES: &str = "codes.safetensors";

pub(crate) const IDS: &str = "ids";
pub(crate) const SHA256: &str = "sha256";
pub(crate) const BYTES: &str = "bytes";
pub(crate) const MODIFIED: &str = "modified";
pub(crate) const PLACES: &str = "places";
pub(crate) const PLACE_OFFSETS: &str = "place_offsets";
pub(crate) const PLACE_TEXT: &str = "place_text";
pub(crate) const THUMBNAIL_OFFSETS: &str = "thumbnail_offsets";

/// A thumbnail of 256 pixels has 20 kB; 4,096 pixels are the most that is made.
const MAX_THUMBNAIL: u64 = 32 << 20;
/// A path or an address.
const MAX_PLACE: usize = 1 << 16;

/// An immutable part of an index.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) folder: PathBuf,
    pub(crate) rows: usize,
    arrays: ArrayFile,
    notes: Option<Notes>,
}

impl Segment {
    /// Opens a segment and checks its files against each other. Values are read on demand.
    pub(crate) fn open(
        index: &Path,
        entry: &SegmentEntry,
        dim: usize,
    ) -> Result<(Self, EmbeddingStore), IndexError> {
        let folder = index.join(entry.folder());
        let store = EmbeddingStore::open(&folder)?;
        let rows = store.rows();
        let found = format!("{rows} {} of {} values in {}", store.modality(), store.dim(), store.dtype());
        let is_expected = rows == entry.rows
            && store.dim() == dim
            && store.modality() == Modality::Image
            && store.dtype() == StoreDtype::F16;
        let expected = format!("{} image of {dim} values in f16, as in index.json", entry.rows);
        ensure(is_expected, &folder, "the embeddings", found, expected)?;
        let arrays = ArrayFile::open(&folder.join(ROWS))?;
        arrays.check_bytes(IDS, rows, EntryId::BYTES)?;
        arrays.check_bytes(SHA256, rows, HASH)?;
        arrays.check_bytes(PLACES, rows, 1)?;
        for (name, length) in [(BYTES, rows), (MODIFIED, rows), (PLACE_OFFSETS, rows + 1)] {
            arrays.check_integers(name, length)?;
        }
        if arrays.has(THUMBNAIL_OFFSETS) {
            arrays.check_integers(THUMBNAIL_OFFSETS, rows + 1)?;
        }
        let notes = entry.notes_file().map(|notes| Notes::open(&index.join(notes), rows)).transpose()?;
        Ok((Self { folder, rows, arrays, notes }, store))
    }

    /// The file of the codes, if the index has some.
    pub(crate) fn codes_path(&self, codes: Option<CodeKind>) -> Option<PathBuf> {
        codes.map(|_| self.folder.join(CODES))
    }

    /// The captions and the columns of a row.
    pub(crate) fn note(&self, row: usize) -> Result<Note, IndexError> {
        Ok(self.notes.as_ref().map(|notes| notes.read(row)).transpose()?.unwrap_or_default())
    }

    pub(crate) fn notes(&self) -> Option<&Notes> {
        self.notes.as_ref()
    }

    pub(crate) fn arrays(&self) -> &ArrayFile {
        &self.arrays
    }

    /// The ids of all rows.
    pub(crate) fn ids(&self) -> Result<Vec<EntryId>, IndexError> {
        let bytes = self.arrays.bytes(IDS, 0..self.rows * EntryId::BYTES)?;
        Ok(bytes.as_chunks().0.iter().map(|id| EntryId(*id)).collect())
    }

    /// Where the bytes of an image are.
    pub(crate) fn place(&self, row: usize) -> Result<Place, IndexError> {
        let kind = self.arrays.bytes(PLACES, row..row + 1)?;
        let text = text(&self.arrays, PLACE_OFFSETS, PLACE_TEXT, row, MAX_PLACE)?;
        let kind = kind.first().copied().unwrap_or_default();
        Place::from_parts(kind, text).ok_or_else(|| self.damaged_place(row, kind))
    }

    /// What the content of every row is and where.
    pub(crate) fn contents(&self) -> Result<Vec<Content>, IndexError> {
        let rows = 0..self.rows;
        let sha256 = self.arrays.bytes(SHA256, 0..self.rows * HASH)?;
        let stamps = self.arrays.integers(BYTES, rows.clone())?.into_iter();
        let stamps = stamps.zip(self.arrays.integers(MODIFIED, rows.clone())?);
        let kinds = self.arrays.bytes(PLACES, rows)?;
        let offsets = self.arrays.integers(PLACE_OFFSETS, 0..self.rows + 1)?;
        let text = self.arrays.bytes(PLACE_TEXT, 0..self.arrays.length(PLACE_TEXT)?)?;
        let rows = sha256.as_chunks().0.iter().zip(stamps).zip(kinds).zip(offsets.windows(2)).enumerate();
        rows.map(|(row, (((sha256, (bytes, modified)), kind), range))| {
            let text = text.get(range[0] as usize..range[1] as usize).map(<[u8]>::to_vec);
            let place = text.and_then(|text| Place::from_parts(kind, String::from_utf8(text).ok()?));
            let place = place.ok_or_else(|| self.damaged_place(row, kind))?;
            Ok(Content { sha256: *sha256, stamp: Stamp { bytes, modified }, place })
        })
        .collect()
    }

    fn damaged_place(&self, row: usize, kind: u8) -> IndexError {
        IndexError::Damaged {
            path: self.arrays.path().to_owned(),
            what: format!("`{PLACES}` of row {row}"),
            found: kind.to_string(),
            expected: "0 to 4, with a text in UTF-8".to_owned(),
        }
    }

    /// The thumbnail of a row.
    pub(crate) fn thumbnail(&self, row: usize) -> Result<Option<Vec<u8>>, IndexError> {
        if !self.arrays.has(THUMBNAIL_OFFSETS) {
            return Ok(None);
        }
        let path = self.folder.join(THUMBNAILS);
        let offsets = self.arrays.integers(THUMBNAIL_OFFSETS, row..row + 2)?;
        let (start, end) = (offsets[0], offsets[1]);
        let length = end.checked_sub(start).filter(|length| *length <= MAX_THUMBNAIL);
        let file = sail_support::open_file(&path).map_err(|error| IndexError::io(&path)(error.into()))?;
        let file_length = file.metadata().map_err(IndexError::io(&path))?.len();
        let Some(length) = length.filter(|_| end <= file_length) else {
            return Err(IndexError::Damaged {
                path: self.arrays.path().to_owned(),
                what: format!("`{THUMBNAIL_OFFSETS}` of row {row}"),
                found: format!("{start} to {end}"),
                expected: format!("a range in the {file_length} bytes of {THUMBNAILS}"),
            });
        };
        let mut jpeg = vec![0; length as usize];
        read_at(&file, &mut jpeg, start).map_err(IndexError::io(&path))?;
        Ok(Some(jpeg))
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}
