//! Reading an index.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sail_core::FeatureSource;
use sail_data::{ArrayFile, ConcatFeatures, DataError, Features};
use sail_support::{hex, read_bounded};
use sha2::{Digest, Sha256};

use super::columns::{Column, Columns};
use super::content::Place;
use super::entry::{Entry, EntryId};
use super::error::{IndexError, ensure};
use super::identity::check_identity;
use super::manifest::{HEAD, MANIFEST, Manifest};
use super::segment::{CODES, Segment};
use crate::{Codes, ExactSearch, FullSearch, ModelIdentity, RowSet, VectorSearch};

/// The removed rows of all segments as one bit each.
pub(crate) const BITS: &str = "bits";
/// The largest head of the paper has 2.4 GB.
const MAX_HEAD_BYTES: u64 = 64 << 30;
/// How often opening is tried while another process updates the index.
const ATTEMPTS: usize = 5;

/// An index of images, opened for searching.
///
/// It is a snapshot: an update that another process makes meanwhile is seen when the index is opened again, and its files stay
/// until the update after that one begins. Embeddings, ids and texts are read from disk on demand; memory holds a bit per row, after
/// the first look-up by id or key 20 bytes per row, and after the first filter 4 bytes per row and column.
///
/// # Examples
/// ```no_run
/// use sail_search::{Embedder, Filter, Index};
///
/// fn find(index: &Index, model: &dyn Embedder) -> Result<(), Box<dyn std::error::Error>> {
///     let query = model.embed_texts(&["a red car in the snow"])?;
///     let among = index.select(&Filter::parse("key=2024/*")?)?;
///     let hits = index.searcher()?.search(&query[0], 10, Some(&among))?;
///     for hit in &hits[0] {
///         println!("{:.3} {}", hit.score, index.entry(hit.row)?.key);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    manifest: Manifest,
    segments: Vec<Segment>,
    /// The first row of each segment.
    starts: Vec<usize>,
    live: RowSet,
    embeddings: Arc<ConcatFeatures>,
    /// Ids of live rows in ascending order.
    ids: OnceLock<Vec<(EntryId, u32)>>,
    pub(super) classes: OnceLock<Column>,
    pub(super) columns: OnceLock<Columns>,
}

impl Index {
    /// Opens an index and checks its files against each other. It may be updated meanwhile.
    ///
    /// # Errors
    /// [`IndexError::NotAnIndex`], [`IndexError::NoImages`] before the first images are indexed, [`IndexError::Manifest`],
    /// [`IndexError::Damaged`] and [`IndexError::Data`] for files that are corrupt, missing, of a newer version or malicious.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IndexError> {
        let path = path.as_ref();
        let mut attempt = 1;
        loop {
            let manifest = Manifest::read(path)?;
            let generation = manifest.generation;
            match Self::with_manifest(path, manifest) {
                // Files may have been replaced after the manifest was read.
                Err(_) if attempt < ATTEMPTS && Manifest::read(path)?.generation != generation => {
                    attempt += 1
                }
                opened => return opened,
            }
        }
    }

    pub(crate) fn with_manifest(path: &Path, manifest: Manifest) -> Result<Self, IndexError> {
        let mut segments = Vec::with_capacity(manifest.segments.len());
        let mut parts = Vec::with_capacity(manifest.segments.len());
        let mut starts = Vec::with_capacity(manifest.segments.len());
        let mut rows = 0;
        for entry in &manifest.segments {
            let (segment, store) = Segment::open(path, entry, manifest.dim)?;
            starts.push(rows);
            rows += segment.rows;
            segments.push(segment);
            parts.push((entry.folder(), Features::Store(store)));
        }
        if parts.is_empty() {
            return Err(IndexError::NoImages { path: path.to_owned() });
        }
        let head = path.join(HEAD);
        ensure(head.is_file(), &head, "the head", "missing", "a file")?;
        Ok(Self {
            path: path.to_owned(),
            live: live(path, &manifest, rows)?,
            embeddings: Arc::new(ConcatFeatures::new(parts)?),
            manifest,
            segments,
            starts,
            ids: OnceLock::new(),
            classes: OnceLock::new(),
            columns: OnceLock::new(),
        })
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether a folder is an index, sound or not.
    #[must_use]
    pub fn is_at(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(MANIFEST).is_file()
    }

    /// Returns whether the folder still holds what was opened. Reads `index.json` only.
    ///
    /// # Errors
    /// [`IndexError::NotAnIndex`], [`IndexError::Manifest`] and [`IndexError::Damaged`].
    pub fn is_current(&self) -> Result<bool, IndexError> {
        Ok(Manifest::read(&self.path)? == self.manifest)
    }

    /// Checks that a model is that of the index, since the embeddings of others are not comparable.
    ///
    /// # Errors
    /// [`IndexError::Model`] with what differs.
    pub fn check_model(&self, identity: &ModelIdentity) -> Result<(), IndexError> {
        check_identity(&self.path, &self.manifest.identity, identity)
    }

    /// Returns what the index holds: its model, dimension, segments.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the file of the head, which names the encoders: a search needs nothing else.
    #[must_use]
    pub fn head_path(&self) -> PathBuf {
        self.path.join(HEAD)
    }

    /// Reads the file of the head, and checks that it is the one that the index was made with.
    ///
    /// # Errors
    /// [`IndexError::Io`], and [`IndexError::Damaged`] for another file.
    pub fn read_head(&self) -> Result<Vec<u8>, IndexError> {
        let path = self.head_path();
        let bytes =
            read_bounded(&path, MAX_HEAD_BYTES).map_err(|error| IndexError::io(&path)(error.into()))?;
        let (found, expected) = (hex(&Sha256::digest(&bytes)), &self.manifest.identity.head_sha256);
        ensure(found == *expected, &path, "the SHA-256", found, expected)?;
        Ok(bytes)
    }

    /// Returns the number of rows of all segments, removed or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.live.rows()
    }

    /// Returns the rows that are not removed. Searches must be restricted to them.
    #[must_use]
    pub fn live(&self) -> &RowSet {
        &self.live
    }

    /// Returns the embeddings of all rows, with their keys.
    #[must_use]
    pub fn embeddings(&self) -> Arc<dyn FeatureSource> {
        self.embeddings.clone()
    }

    /// Returns the embedding of a row, of unit length up to rounding.
    ///
    /// # Errors
    /// [`IndexError::Row`], and errors of reading.
    pub fn embedding(&self, row: usize) -> Result<Vec<f32>, IndexError> {
        self.check_row(row)?;
        let mut values = vec![0.0; self.manifest.dim];
        self.embeddings.gather(&[row], &mut values).map_err(DataError::from)?;
        Ok(values)
    }

    /// Returns what is known about a row.
    ///
    /// # Errors
    /// [`IndexError::Row`], and errors of reading.
    pub fn entry(&self, row: usize) -> Result<Entry, IndexError> {
        let (segment, within) = self.locate(row)?;
        let key = self.key(row)?;
        let place = segment.place(within)?;
        let note = segment.note(within)?;
        Ok(Entry {
            id: EntryId::of(&key),
            file: place.file(self.manifest.root.as_deref(), &key),
            url: if let Place::Url(url) = place { Some(url) } else { None },
            captions: note.captions,
            columns: note.columns,
            key,
        })
    }

    /// Returns the key of a row.
    ///
    /// # Errors
    /// [`IndexError::Row`], and errors of reading.
    pub fn key(&self, row: usize) -> Result<String, IndexError> {
        self.check_row(row)?;
        let keys = self.embeddings.keys(&[row]).map_err(DataError::from)?;
        Ok(keys.into_iter().next().unwrap_or_default())
    }

    /// Returns the thumbnail of a row, a JPEG, if the index has thumbnails.
    ///
    /// # Errors
    /// [`IndexError::Row`], and errors of reading.
    pub fn thumbnail(&self, row: usize) -> Result<Option<Vec<u8>>, IndexError> {
        let (segment, within) = self.locate(row)?;
        segment.thumbnail(within)
    }

    /// Returns the row of an image. `None` if it is not in the index, or not any more.
    ///
    /// # Errors
    /// Errors of reading the ids, at the first call.
    pub fn find(&self, id: &EntryId) -> Result<Option<usize>, IndexError> {
        let ids = self.ids()?;
        // The last of equal ones is the newest.
        let end = ids.partition_point(|(other, _)| other <= id);
        Ok(ids[..end].last().filter(|(other, _)| other == id).map(|(_, row)| *row as usize))
    }

    /// As [`find`](Self::find), or `None` if the ids cannot be read.
    #[must_use]
    pub fn row_of(&self, id: &EntryId) -> Option<usize> {
        self.find(id).ok().flatten()
    }

    /// Returns the row of an image by its key, or `None` if it is not in the index or the ids cannot be read.
    #[must_use]
    pub fn row_of_key(&self, key: &str) -> Option<usize> {
        self.row_of(&EntryId::of(key))
    }

    /// Opens a search in the embeddings of all rows: a walk through the graph if there is one (with the feature `approximate`), a
    /// scan of the codes, which are read into memory, or without codes a scan of the embeddings. It is kept for several
    /// queries.
    ///
    /// # Errors
    /// [`IndexError::Codes`], `IndexError::Graph` and [`IndexError::Search`] if codes or graph cannot be read or are not those of
    /// the rows.
    pub fn searcher(&self) -> Result<Box<dyn VectorSearch>, IndexError> {
        if self.manifest.codes.is_none() {
            return Ok(Box::new(FullSearch::new(self.embeddings())));
        }
        let codes = self.codes()?;
        #[cfg(feature = "approximate")]
        if let Some(path) = self.graph_path() {
            return Ok(Box::new(crate::ApproximateSearch::open(path, codes, self.embeddings())?));
        }
        Ok(Box::new(ExactSearch::new(codes, self.embeddings())?))
    }

    /// Reads the codes of the segments; there are none without segments or codes.
    pub(crate) fn codes(&self) -> Result<Vec<Arc<Codes>>, IndexError> {
        let codes = self.segments.iter().map(|segment| {
            let path = segment.folder.join(CODES);
            let codes = Codes::load(&path)?;
            let (found, expected) = (codes.rows(), segment.rows);
            ensure(found == expected, &path, "the number of codes", found, format!("{expected} rows"))?;
            Ok(Arc::new(codes))
        });
        codes.collect()
    }

    fn ids(&self) -> Result<&Vec<(EntryId, u32)>, IndexError> {
        once(&self.ids, || {
            let mut ids = Vec::with_capacity(self.live.len());
            for (segment, start) in self.segments.iter().zip(&self.starts) {
                let rows = segment.ids()?.into_iter().zip(*start..);
                ids.extend(
                    rows.filter(|(_, row)| self.live.contains(*row)).map(|(id, row)| (id, row as u32)),
                );
            }
            ids.sort_unstable();
            Ok(ids)
        })
    }

    fn check_row(&self, row: usize) -> Result<(), IndexError> {
        let rows = self.rows();
        if row < rows { Ok(()) } else { Err(IndexError::Row { row, rows }) }
    }

    /// The segment of a row, and the row within it.
    pub(crate) fn locate(&self, row: usize) -> Result<(&Segment, usize), IndexError> {
        self.check_row(row)?;
        let segment = self.starts.partition_point(|start| *start <= row) - 1;
        Ok((&self.segments[segment], row - self.starts[segment]))
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = (usize, &Segment)> {
        self.starts.iter().copied().zip(&self.segments)
    }
}

/// Reads which rows are not removed.
fn live(index: &Path, manifest: &Manifest, rows: usize) -> Result<RowSet, IndexError> {
    let Some(removed) = &manifest.removed else { return Ok(RowSet::from_fn(rows, |_| true)) };
    let path = index.join(removed.file());
    let arrays = ArrayFile::open(&path)?;
    arrays.check_bytes(BITS, rows.div_ceil(8), 1)?;
    let bits = arrays.bytes(BITS, 0..rows.div_ceil(8))?;
    let live = RowSet::from_fn(rows, |row| bits[row / 8] >> (row % 8) & 1 == 0);
    let found = rows - live.len();
    let expected = format!("{} as in {MANIFEST}", removed.rows);
    ensure(found == removed.rows, &path, "the number of removed rows", found, expected)?;
    Ok(live)
}

/// Returns a value that the first call computes.
pub(super) fn once<T>(
    cell: &OnceLock<T>,
    compute: impl FnOnce() -> Result<T, IndexError>,
) -> Result<&T, IndexError> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = compute()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}
