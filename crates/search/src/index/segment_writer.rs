//! Writing a segment, which a killed process may leave unfinished.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, Modality, Provenance, StoreDtype};
use sail_data::{Array, DataError, EmbeddingStore, StoreConfig, StoreWriter, write_arrays};
use sail_support::{TEMPORARY_PREFIX, hex};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::content::{Content, HASH};
use super::entry::EntryId;
use super::error::IndexError;
use super::manifest::{Manifest, NOTES, SegmentEntry};
use super::segment::{
    BYTES, CODES, IDS, MODIFIED, PLACE_OFFSETS, PLACE_TEXT, PLACES, ROWS, SHA256, THUMBNAIL_OFFSETS,
    THUMBNAILS,
};
use super::segment_log::{LOG, Line, Resumed, Row};
use crate::{CodeKind, Codes, centre};

/// Rows of a full segment.
pub(crate) const SEGMENT_ROWS: usize = 1 << 16;
/// Rows of a shard of the embeddings, and the most that are kept in memory.
const ROWS_PER_SHARD: usize = 1 << 14;

/// Writes a segment: the embeddings as a store, a log of the rows, and the thumbnails.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    number: u64,
    folder: PathBuf,
    /// `None` if the store is complete.
    store: Option<StoreWriter>,
    log: File,
    thumbnails: Option<File>,
    /// Everything about the rows but their keys, thumbnails and embeddings.
    rows: Vec<Content>,
    ids: Vec<EntryId>,
    thumbnail_offsets: Vec<u64>,
}

/// What all segments of an index have in common.
pub(crate) struct SegmentConfig {
    pub(crate) provenance: Provenance,
    pub(crate) dim: usize,
    pub(crate) has_thumbnails: bool,
    pub(crate) segment_rows: usize,
    pub(crate) codes: Option<CodeKind>,
    /// The centre of the codes of all segments: that of the first one, once it is known.
    pub(crate) centre: Option<Vec<f32>>,
}

impl SegmentConfig {
    /// The configuration of an index.
    pub(crate) fn new(index: &Path, manifest: &Manifest, segment_rows: usize) -> Result<Self, IndexError> {
        let mut provenance = manifest.identity.vision.clone();
        // The embeddings are those of the vision model after the head, which is the last of its modules.
        provenance.modules.push(json!({"head_sha256": manifest.identity.head_sha256}));
        let first = manifest.segments.first().filter(|_| manifest.codes.is_some());
        let codes = first.map(|entry| Codes::load(index.join(entry.folder()).join(CODES))).transpose()?;
        Ok(Self {
            provenance,
            dim: manifest.dim,
            has_thumbnails: manifest.thumbnails.is_some(),
            segment_rows,
            codes: manifest.codes,
            centre: codes.map(|codes| codes.centre().to_vec()),
        })
    }

    fn rows_per_shard(&self) -> usize {
        self.segment_rows.min(ROWS_PER_SHARD)
    }

    fn store(&self) -> StoreConfig {
        StoreConfig {
            dtype: StoreDtype::F16,
            rows_per_shard: self.rows_per_shard(),
            ..StoreConfig::new(Modality::Image, self.provenance.clone(), self.dim)
        }
    }
}

/// Removes what a killed process has left of a segment.
pub(crate) fn discard(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IndexError::io(folder)(error)),
        _ => Ok(()),
    }
}

impl SegmentWriter {
    /// Starts a segment in a new folder.
    pub(crate) fn create(folder: PathBuf, number: u64, config: &SegmentConfig) -> Result<Self, IndexError> {
        fs::create_dir_all(&folder).map_err(IndexError::io(&folder))?;
        let store = StoreWriter::create_beside(&folder, config.store())?;
        let log = open(&folder.join(LOG))?;
        let thumbnails = config.has_thumbnails.then(|| open(&folder.join(THUMBNAILS))).transpose()?;
        Ok(Self {
            number,
            folder,
            store: Some(store),
            log,
            thumbnails,
            rows: Vec::new(),
            ids: Vec::new(),
            thumbnail_offsets: vec![0],
        })
    }

    /// Continues the segment that a killed process has left, if there is one.
    pub(crate) fn resume(
        folder: &Path,
        number: u64,
        config: &SegmentConfig,
    ) -> Result<(Option<Self>, Resumed), IndexError> {
        match Self::reopen(folder, number, config) {
            Ok(Some((writer, resumed))) => return Ok((Some(writer), resumed)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("cannot continue {}, its rows are computed again: {error}", folder.display());
            }
        }
        discard(folder)?;
        Ok((None, Resumed::default()))
    }

    /// Returns `None` if there are no rows to continue from.
    fn reopen(
        folder: &Path,
        number: u64,
        config: &SegmentConfig,
    ) -> Result<Option<(Self, Resumed)>, IndexError> {
        let path = folder.join(LOG);
        if !path.is_file() {
            return Ok(None);
        }
        let (store, saved) = match StoreWriter::resume(folder, config.store()) {
            Ok(store) => {
                let rows = store.rows();
                (Some(store), rows)
            }
            Err(DataError::Exists { .. }) => (None, EmbeddingStore::open(folder)?.rows()),
            Err(error) => return Err(error.into()),
        };
        if saved == 0 {
            return Ok(None);
        }
        let damaged = |found: String| IndexError::Damaged {
            path: path.clone(),
            what: "the log".to_owned(),
            found,
            expected: format!("the {saved} rows of the embeddings"),
        };
        let mut log = open(&path)?;
        let mut reader = BufReader::new(&log);
        let (mut resumed, mut ids, mut offsets) = (Resumed::default(), Vec::new(), vec![0u64]);
        let (mut line, mut length) = (Vec::new(), 0u64);
        for row in 0..saved {
            line.clear();
            length += reader.read_until(b'\n', &mut line).map_err(IndexError::io(&path))? as u64;
            if line.last() != Some(&b'\n') {
                return Err(damaged(format!("{row} lines")));
            }
            let line: Line = serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
            offsets.push(offsets[row].saturating_add(line.thumbnail));
            let (key, content) = line.parse().ok_or_else(|| damaged(format!("another line {row}")))?;
            ids.push(EntryId::of(&key));
            resumed.by_key.insert(key, row);
            resumed.rows.push(content);
        }
        // Rows after the last save.
        truncate(&mut log, length).map_err(IndexError::io(&path))?;
        let mut thumbnails = None;
        if config.has_thumbnails {
            let path = folder.join(THUMBNAILS);
            let mut file = open(&path)?;
            let found = file.metadata().map_err(IndexError::io(&path))?.len();
            if found < offsets[saved] {
                return Err(damaged(format!("{found} bytes of thumbnails")));
            }
            truncate(&mut file, offsets[saved]).map_err(IndexError::io(&path))?;
            thumbnails = Some(file);
        }
        let rows = resumed.rows.clone();
        let folder = folder.to_owned();
        let writer = Self { number, folder, store, log, thumbnails, rows, ids, thumbnail_offsets: offsets };
        Ok(Some((writer, resumed)))
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether rows can be appended. A process may have been killed after it had written the last one.
    pub(crate) fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// The contents of the rows.
    pub(crate) fn contents(&self) -> &[Content] {
        &self.rows
    }

    /// Appends rows with their embeddings.
    pub(crate) fn append(&mut self, rows: Vec<Row>, embeddings: &[f32]) -> Result<(), IndexError> {
        let path = &self.folder;
        let Some(store) = &mut self.store else { return Ok(()) };
        let (mut text, mut jpegs) = (Vec::new(), Vec::new());
        for row in &rows {
            serde_json::to_writer(&mut text, &Line::new(row))
                .map_err(|error| IndexError::io(path)(error.into()))?;
            text.push(b'\n');
            jpegs.extend_from_slice(&row.thumbnail);
        }
        let keyed: Vec<_> =
            rows.iter().map(|row| &row.key).zip(embeddings.chunks_exact(store.dim())).collect();
        let position = store.position() + rows.len() as u64;
        store.append(&keyed, position)?;
        self.log.write_all(&text).map_err(IndexError::io(path))?;
        if let Some(thumbnails) = &mut self.thumbnails {
            thumbnails.write_all(&jpegs).map_err(IndexError::io(path))?;
        }
        for row in rows {
            let end = self.thumbnail_offsets.last().copied().unwrap_or_default() + row.thumbnail.len() as u64;
            self.thumbnail_offsets.push(end);
            self.ids.push(EntryId::of(&row.key));
            self.rows.push(row.content);
        }
        Ok(())
    }

    /// Whether the rows in memory fill a shard and should be saved.
    pub(crate) fn is_full(&self) -> bool {
        self.store.as_ref().is_some_and(StoreWriter::full)
    }

    /// Saves all rows so far, durably: a killed process continues here. The store counts the rows, so it is last.
    pub(crate) fn save(&mut self) -> Result<(), IndexError> {
        let files = [Some(&self.log), self.thumbnails.as_ref()];
        files.into_iter().flatten().try_for_each(File::sync_data).map_err(IndexError::io(&self.folder))?;
        if let Some(store) = &mut self.store {
            store.save()?;
        }
        Ok(())
    }

    /// Completes the files of the segment, of which the log is only removed [afterwards](published).
    pub(crate) fn finish(mut self, config: &mut SegmentConfig) -> Result<SegmentEntry, IndexError> {
        self.save()?;
        if let Some(store) = self.store.take() {
            store.close()?;
        }
        let ids: Vec<u8> = self.ids.iter().flat_map(|id| id.0).collect();
        let sha256: Vec<u8> = self.rows.iter().flat_map(|row| row.sha256).collect();
        let bytes: Vec<u64> = self.rows.iter().map(|row| row.stamp.bytes).collect();
        let modified: Vec<u64> = self.rows.iter().map(|row| row.stamp.modified).collect();
        let (mut places, mut place_text, mut place_offsets) = (Vec::new(), Vec::new(), vec![0]);
        for row in &self.rows {
            let (kind, text) = row.place.parts();
            places.push(kind);
            place_text.extend_from_slice(text.as_bytes());
            place_offsets.push(place_text.len() as u64);
        }
        let bytes_of = |width, values| Array::Bytes { width, values };
        let mut arrays = vec![
            (BYTES, Array::Integers(&bytes)),
            (MODIFIED, Array::Integers(&modified)),
            (PLACE_OFFSETS, Array::Integers(&place_offsets)),
        ];
        if self.thumbnails.is_some() {
            arrays.push((THUMBNAIL_OFFSETS, Array::Integers(&self.thumbnail_offsets)));
        }
        arrays.extend([
            (IDS, bytes_of(EntryId::BYTES, &ids)),
            (SHA256, bytes_of(HASH, &sha256)),
            (PLACES, bytes_of(1, &places)),
            (PLACE_TEXT, bytes_of(1, &place_text)),
        ]);
        if let Some(kind) = config.codes {
            let store = EmbeddingStore::open(&self.folder)?;
            let centre = match &config.centre {
                Some(centre) => centre.clone(),
                None => centre(&store, |_| ()).map_err(DataError::from)?,
            };
            Codes::encode(&store, kind, centre.clone(), |_| ())?.save(self.folder.join(CODES))?;
            config.centre = Some(centre);
        }
        let rows_sha256 = write_arrays(&self.folder.join(ROWS), &arrays)?;
        let manifest = self.folder.join("manifest.json");
        let manifest = fs::read(&manifest).map_err(IndexError::io(&manifest))?;
        Ok(SegmentEntry {
            number: self.number,
            rows: self.rows.len(),
            bytes: folder_bytes(&self.folder)?,
            embeddings_sha256: hex(&Sha256::digest(&manifest)),
            rows_sha256,
            notes: None,
        })
    }
}

/// Removes the log of a segment that is part of the index.
pub(crate) fn published(folder: &Path) -> Result<(), IndexError> {
    let log = folder.join(LOG);
    match fs::remove_file(&log) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IndexError::io(&log)(error)),
        _ => Ok(()),
    }
}

/// The length of the immutable files of a segment.
fn folder_bytes(folder: &Path) -> Result<u64, IndexError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(IndexError::io(folder))? {
        let entry = entry.map_err(IndexError::io(folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name != LOG && !name.starts_with(NOTES) && !name.starts_with(TEMPORARY_PREFIX) {
            bytes += entry.metadata().map_err(IndexError::io(folder))?.len();
        }
    }
    Ok(bytes)
}

/// Opens a file for appending after what it has.
fn open(path: &Path) -> Result<File, IndexError> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = options.map_err(IndexError::io(path))?;
    file.rewind().map_err(IndexError::io(path))?;
    Ok(file)
}

fn truncate(file: &mut File, length: u64) -> std::io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(())
}
