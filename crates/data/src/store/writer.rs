//! Writing a store, with one shard in memory at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sail_core::{Check, Contradiction, FeatureError, FeatureSource};
use sail_support::{TEMPORARY_PREFIX, remove_temporary_files};

use super::config::{StoreConfig, check_rows_per_shard};
use super::embedding_store::EmbeddingStore;
use super::manifest::{MANIFEST, Manifest, PARTIAL, Unfinished};
use super::row_buffer::RowBuffer;
use super::shard;
use super::tail::{TAIL_SUFFIX, Tail};
use crate::DataError;
use crate::error::ensure_file;

/// Number of keys that are read at once.
const KEYS: usize = 4096;

/// Writes an [`EmbeddingStore`] row by row.
///
/// Shards are written one by one, each atomically, and the manifest last, so an interrupted store cannot be opened. It can
/// be [resumed](StoreWriter::resume) from the state in `partial.json`. Dropping the writer without
/// [`finish`](StoreWriter::finish) leaves such an unfinished store.
///
/// Shards have a fixed number of rows, so the same rows result in the same files, no matter how often writing was
/// interrupted. If rows come from a longer input of which some records are skipped, [append](StoreWriter::append) them in
/// blocks; the [position](StoreWriter::position) in the input is saved with them.
#[derive(Debug)]
pub struct StoreWriter {
    path: PathBuf,
    rows_per_shard: usize,
    manifest: Manifest,
    buffer: RowBuffer,
    tail: Tail,
    position: u64,
    resumed: Option<EmbeddingStore>,
}

impl StoreWriter {
    /// Creates a store in a new or empty folder, with its parents.
    ///
    /// # Errors
    /// [`DataError::Config`] for an invalid configuration, [`DataError::Exists`] if the path exists and is not an empty
    /// folder, and [`DataError::Io`].
    pub fn create(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, DataError> {
        config.check()?;
        let path = path.as_ref();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(DataError::io(parent))?;
        }
        match fs::create_dir(path) {
            Ok(()) => {}
            // A process killed at this point leaves an empty folder.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let names = if path.is_dir() { file_names(path)? } else { vec![String::new()] };
                if !names.iter().all(|name| name.starts_with(TEMPORARY_PREFIX)) {
                    return Err(DataError::Exists { path: path.to_owned() });
                }
                sweep(path, &[])?;
            }
            Err(source) => return Err(DataError::Io { path: path.to_owned(), source }),
        }
        Self::create_beside(path, config)
    }

    /// Creates a store in an existing folder, which may have other files but no store.
    ///
    /// # Errors
    /// Those of [`create`](StoreWriter::create).
    pub fn create_beside(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, DataError> {
        config.check()?;
        let path = path.as_ref().to_owned();
        if [MANIFEST, PARTIAL].iter().any(|name| path.join(name).exists()) {
            return Err(DataError::Exists { path });
        }
        let manifest = Manifest::new(config.modality, config.provenance, config.dim, config.dtype);
        let mut writer = Self {
            path,
            rows_per_shard: config.rows_per_shard,
            manifest,
            buffer: RowBuffer::new(),
            tail: Tail::new(0),
            position: 0,
            resumed: None,
        };
        writer.write_partial()?;
        Ok(writer)
    }

    /// Resumes an interrupted store. It has [`rows`](StoreWriter::rows) rows already; compare their keys,
    /// [`resumed_keys`](StoreWriter::resumed_keys), with the input.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if it was created with another configuration (the rows per shard may differ), and those of
    /// [`reopen`](StoreWriter::reopen).
    pub fn resume(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, DataError> {
        config.check()?;
        let StoreConfig { modality, provenance, dim, dtype, rows_per_shard } = config;
        let writer = Self::reopen(path, rows_per_shard)?;
        let partial = writer.path.join(PARTIAL);
        let found = &writer.manifest;
        ensure_file(found.modality == modality, &partial, "`modality`", found.modality, modality)?;
        ensure_file(found.dim == dim, &partial, "`dim`", found.dim, dim)?;
        ensure_file(found.dtype == dtype, &partial, "`dtype`", found.dtype, dtype)?;
        if let Some(Contradiction { field, found, expected, .. }) =
            provenance.contradiction(&found.provenance)
        {
            ensure_file(false, &partial, format!("`{field}` of the provenance"), found, expected)?;
        }
        Ok(writer)
    }

    /// Resumes an interrupted store with the configuration that it was created with.
    ///
    /// Files that a killed process left are removed, so no other process may be writing to the store.
    ///
    /// # Errors
    /// [`DataError::Config`], [`DataError::Exists`] for a finished store, [`DataError::NotAStore`] if there is none,
    /// [`DataError::Manifest`], [`DataError::Malformed`], [`DataError::Checksum`] and those of [`EmbeddingStore::open`] for a
    /// corrupt file, and [`DataError::Io`].
    pub fn reopen(path: impl AsRef<Path>, rows_per_shard: usize) -> Result<Self, DataError> {
        check_rows_per_shard(rows_per_shard)?;
        let path = path.as_ref().to_owned();
        let partial = path.join(PARTIAL);
        if path.join(MANIFEST).exists() {
            // The process was killed in its last steps, of which removing `partial.json` is the very last.
            if partial.exists() {
                let shards = Manifest::read(&path.join(MANIFEST))?.shards;
                sweep(&path, &shards.into_iter().map(|shard| shard.file).collect::<Vec<_>>())?;
                fs::remove_file(&partial).map_err(DataError::io(&partial))?;
            }
            return Err(DataError::Exists { path });
        }
        if !partial.exists() {
            return Err(DataError::NotAStore { path, expected: PARTIAL });
        }
        let mut manifest = Manifest::read(&partial)?;
        let resumed = match manifest.rows {
            0 => None,
            _ => Some(EmbeddingStore::with_manifest(&path, manifest.clone())?),
        };
        let row_bytes = manifest.codec().row_bytes();
        let shard = manifest.shards.len();
        let (position, (tail, buffer)) = match manifest.unfinished.take() {
            Some(state) => (state.position, Tail::open(&path, shard, &state.tail, row_bytes)?),
            None => (manifest.rows as u64, (Tail::new(shard), RowBuffer::new())),
        };
        let writer = Self { path, rows_per_shard, manifest, buffer, tail, position, resumed };
        writer.sweep()?;
        Ok(writer)
    }

    /// Returns the number of rows so far, including those of a resumed store.
    pub fn rows(&self) -> usize {
        self.manifest.rows + self.buffer.rows()
    }

    /// Returns the embedding dimension.
    pub fn dim(&self) -> usize {
        self.manifest.dim
    }

    /// Returns the position in the input after the last row: the one of the last [`append`](StoreWriter::append), plus one for
    /// every [`push`](StoreWriter::push) since.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Iterates over the keys of the rows that existed when the writer resumed, before any row is added.
    pub fn resumed_keys(&self) -> impl DoubleEndedIterator<Item = Result<String, FeatureError>> {
        // In blocks, since every read opens the file of a shard.
        let stored = self.resumed.iter().flat_map(|store| {
            (0..store.rows()).step_by(KEYS).flat_map(|start| {
                let rows: Vec<usize> = (start..store.rows().min(start + KEYS)).collect();
                match store.keys(&rows) {
                    Ok(keys) => keys.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                }
            })
        });
        let key = |row| Ok(String::from_utf8_lossy(self.buffer.row(row).0).into_owned());
        stored.chain((0..self.buffer.rows()).map(key))
    }

    /// Appends a row.
    ///
    /// # Errors
    /// For an unusable row, which leaves the store unchanged: [`DataError::RowSize`], [`FeatureError::NotFinite`],
    /// [`FeatureError::ZeroNorm`], and [`DataError::Overflow`] and [`DataError::Underflow`] of the dtype. [`DataError::Io`] if a
    /// full shard cannot be written; the row is kept then, and the next push tries again.
    pub fn push(&mut self, key: &str, values: &[f32]) -> Result<(), DataError> {
        self.append(&[(key, values)], self.position + 1)?;
        if self.full() { self.save() } else { Ok(()) }
    }

    /// Appends the rows of the input up to `position`, all or none of them. They stay in memory until
    /// [`save`](StoreWriter::save), which should be called when the writer is [full](StoreWriter::full).
    ///
    /// # Errors
    /// Those of [`push`](StoreWriter::push), except that nothing is written.
    pub fn append<K: AsRef<str>, V: AsRef<[f32]>>(
        &mut self,
        rows: &[(K, V)],
        position: u64,
    ) -> Result<(), DataError> {
        let mut encoded = Vec::new();
        for (index, (key, values)) in rows.iter().enumerate() {
            self.encode(self.rows() + index, key.as_ref(), values.as_ref(), &mut encoded)?;
        }
        self.buffer.values.append(&mut encoded);
        rows.iter().for_each(|(key, _)| self.buffer.push_key(key.as_ref()));
        self.position = position;
        Ok(())
    }

    /// Returns `true` if the rows in memory fill a shard.
    pub fn full(&self) -> bool {
        self.buffer.rows() >= self.rows_per_shard
    }

    /// Saves all rows so far, and the position, durably: a resume continues from this or a later call.
    ///
    /// # Errors
    /// [`DataError::Io`]; the rows and the saved state are kept then, and the next call tries again.
    pub fn save(&mut self) -> Result<(), DataError> {
        while self.full() {
            self.write_shard(self.rows_per_shard)?;
        }
        let cut = self.tail.shard() != self.manifest.shards.len();
        if cut {
            self.tail = Tail::new(self.manifest.shards.len());
        }
        self.tail.save(&self.path, &self.buffer)?;
        self.write_partial()?;
        if cut { self.sweep() } else { Ok(()) }
    }

    /// Appends rows up to the first error.
    ///
    /// # Errors
    /// Those of [`push`](StoreWriter::push).
    pub fn extend<K: AsRef<str>, V: AsRef<[f32]>>(
        &mut self,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), DataError> {
        rows.into_iter().try_for_each(|(key, values)| self.push(key.as_ref(), values.as_ref()))
    }

    /// Writes the last shard and the manifest, and opens the store.
    ///
    /// # Errors
    /// [`DataError::Empty`] without rows (the folder is removed), and [`DataError::Io`].
    pub fn finish(self) -> Result<EmbeddingStore, DataError> {
        let path = self.path.clone();
        self.close()?;
        EmbeddingStore::open(path)
    }

    /// As [`finish`](StoreWriter::finish), without opening the store.
    ///
    /// # Errors
    /// Those of [`finish`](StoreWriter::finish).
    pub fn close(mut self) -> Result<(), DataError> {
        let partial = self.path.join(PARTIAL);
        if self.rows() == 0 {
            fs::remove_file(&partial).map_err(DataError::io(&partial))?;
            fs::remove_dir(&self.path).map_err(DataError::io(&self.path))?;
            return Err(DataError::Empty);
        }
        if self.full() {
            self.save()?;
        }
        if self.buffer.rows() > 0 {
            self.write_shard(self.buffer.rows())?;
        }
        self.manifest.write(&self.path.join(MANIFEST))?;
        self.tail = Tail::new(self.manifest.shards.len());
        self.sweep()?;
        // Last, so that a process killed before it leaves a store that is known to need sweeping.
        fs::remove_file(&partial).map_err(DataError::io(&partial))
    }

    fn write_shard(&mut self, rows: usize) -> Result<(), DataError> {
        let entry = shard::write(&self.buffer, rows, &self.path, &self.manifest)?;
        self.buffer.remove(rows);
        self.manifest.rows += entry.rows;
        self.manifest.shards.push(entry);
        Ok(())
    }

    fn write_partial(&mut self) -> Result<(), DataError> {
        self.manifest.unfinished = Some(Unfinished { position: self.position, tail: self.tail.entry() });
        let written = self.manifest.write(&self.path.join(PARTIAL));
        self.manifest.unfinished = None;
        written
    }

    /// Removes the tails and shards that are not in `partial.json`, and temporary files.
    fn sweep(&self) -> Result<(), DataError> {
        let shards = self.manifest.shards.iter().map(|shard| shard.file.clone());
        sweep(&self.path, &shards.chain(self.tail.name()).collect::<Vec<_>>())
    }

    /// Appends the bytes of a row, which must be usable both before and after the encoding.
    fn encode(&self, row: usize, key: &str, values: &[f32], out: &mut Vec<u8>) -> Result<(), DataError> {
        let codec = self.manifest.codec();
        let dtype = codec.dtype;
        let key = || key.to_owned();
        if values.len() != self.manifest.dim {
            let (found, expected) = (values.len(), self.manifest.dim);
            return Err(DataError::RowSize { row, key: key(), found, expected });
        }
        if let Some(column) = values.iter().position(|value| !value.is_finite()) {
            let value = values[column];
            return Err(FeatureError::NotFinite { row, key: key(), column, value }.into());
        }
        if values.iter().all(|&value| value == 0.0) {
            return Err(FeatureError::ZeroNorm { row, key: key() }.into());
        }
        let start = out.len();
        codec.encode(values, out);
        let mut stored = vec![0.0; values.len()];
        codec.decode(&out[start..], &mut stored);
        if let Some(column) = stored.iter().position(|value| !value.is_finite()) {
            let value = values[column];
            return Err(DataError::Overflow { row, key: key(), column, value, dtype });
        }
        if stored.iter().all(|&value| value == 0.0) {
            return Err(DataError::Underflow { row, key: key(), dtype });
        }
        Ok(())
    }
}

/// Removes temporary files, and shards and tails that are not `kept`. Other files stay.
fn sweep(path: &Path, kept: &[String]) -> Result<(), DataError> {
    remove_temporary_files(path).map_err(DataError::io(path))?;
    for name in file_names(path)? {
        let part =
            name.starts_with("shard-") && (name.ends_with(TAIL_SUFFIX) || name.ends_with(".safetensors"));
        if part && !kept.contains(&name) {
            let path = path.join(name);
            fs::remove_file(&path).map_err(DataError::io(&path))?;
        }
    }
    Ok(())
}

/// The names of the entries of a folder. Names that are not UTF-8 are not of this crate.
fn file_names(path: &Path) -> Result<Vec<String>, DataError> {
    let entries = fs::read_dir(path).map_err(DataError::io(path))?;
    let names = entries.filter_map(|entry| match entry {
        Ok(entry) => entry.file_name().into_string().ok().map(Ok),
        Err(error) => Some(Err(error)),
    });
    names.collect::<Result<_, _>>().map_err(DataError::io(path))
}
