//! Writing a store, one shard in memory at a time.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sail_core::{Check, ConfigError, FeatureError, FeatureSource, Modality, Provenance, ensure};

use super::EmbeddingStore;
use super::manifest::{MANIFEST, MAX_DIM, Manifest, PARTIAL, Progress};
use super::shard::ShardBuffer;
use super::tail::{TAIL_SUFFIX, Tail};
use crate::error::ensure_file;
use crate::{DataError, Dtype};

/// How the names of files begin that [`write_atomic`](sail_support::write_atomic) has not finished.
const TEMPORARY: &str = ".tmp-";

/// How many keys are read at a time.
const KEYS: usize = 4096;

/// What a new store will hold.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreConfig {
    /// What a row describes.
    pub modality: Modality,
    /// Which backbone and settings make the rows.
    pub provenance: Provenance,
    /// How many numbers a row has, 1 to 1,048,576.
    pub dim: usize,
    /// How a number is stored.
    pub dtype: Dtype,
    /// How many rows a file has, at least 1. The writer keeps as many in memory.
    pub rows_per_shard: usize,
}

impl StoreConfig {
    /// Half precision, 65,536 rows a shard.
    pub fn new(modality: Modality, provenance: Provenance, dim: usize) -> Self {
        Self { modality, provenance, dim, dtype: Dtype::F16, rows_per_shard: 1 << 16 }
    }
}

impl Check for StoreConfig {
    fn check(&self) -> Result<(), ConfigError> {
        ensure((1..=MAX_DIM).contains(&self.dim), "dim", self.dim, format!("1 to {MAX_DIM}"))?;
        check_rows_per_shard(self.rows_per_shard)
    }
}

/// Writes an [`EmbeddingStore`] row by row.
///
/// Shards appear one by one, each whole; the manifest comes last, so a store that was cut off cannot be
/// opened. It can be [resumed](StoreWriter::resume): `partial.json` says how far it came. Dropping the writer
/// without [`finish`](StoreWriter::finish) leaves such an unfinished store.
///
/// Shards are cut at exact numbers of rows, so the same rows give the same files however often the writing was
/// cut off. A writer whose rows come from a longer input, with some left out, can [append](StoreWriter::append) them
/// in blocks and have the [position](StoreWriter::position) in that input kept with them.
#[derive(Debug)]
pub struct StoreWriter {
    path: PathBuf,
    rows_per_shard: usize,
    manifest: Manifest,
    buffer: ShardBuffer,
    tail: Tail,
    position: u64,
    resumed: Option<EmbeddingStore>,
}

impl StoreWriter {
    /// Starts a store in a new or empty folder; parent folders are created.
    ///
    /// # Errors
    /// [`DataError::Config`] for an invalid configuration, [`DataError::Exists`] where something has that
    /// name already, and [`DataError::Io`].
    pub fn create(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, DataError> {
        config.check()?;
        let path = path.as_ref();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(DataError::io(parent))?;
        }
        match fs::create_dir(path) {
            Ok(()) => {}
            // A process that was killed right here left a folder with nothing in it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let names = if path.is_dir() { file_names(path)? } else { vec![String::new()] };
                if !names.iter().all(|name| name.starts_with(TEMPORARY)) {
                    return Err(DataError::Exists { path: path.to_owned() });
                }
                sweep(path, &[])?;
            }
            Err(source) => return Err(DataError::Io { path: path.to_owned(), source }),
        }
        Self::create_beside(path, config)
    }

    /// Starts a store in a folder that is there and has other files, but no store.
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
            buffer: ShardBuffer::new(),
            tail: Tail::new(0),
            position: 0,
            resumed: None,
        };
        writer.write_partial()?;
        Ok(writer)
    }

    /// Continues a store that was cut off. Its first [`rows`](StoreWriter::rows) rows are there already;
    /// [`resumed_keys`](StoreWriter::resumed_keys) shows their keys, to check that the input is still the same.
    ///
    /// # Errors
    /// [`DataError::Malformed`] where it was begun with another configuration (the rows per shard may
    /// differ), and those of [`reopen`](StoreWriter::reopen).
    pub fn resume(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, DataError> {
        config.check()?;
        let StoreConfig { modality, provenance, dim, dtype, rows_per_shard } = config;
        let writer = Self::reopen(path, rows_per_shard)?;
        let partial = writer.path.join(PARTIAL);
        let found = &writer.manifest;
        ensure_file(found.modality == modality, &partial, "`modality`", found.modality, modality)?;
        ensure_file(found.dim == dim, &partial, "`dim`", found.dim, dim)?;
        ensure_file(found.dtype == dtype, &partial, "`dtype`", found.dtype, dtype)?;
        let provenances = (&found.provenance, &provenance);
        ensure_file(
            provenances.0 == provenances.1,
            &partial,
            "`provenance`",
            format!("{:?}", provenances.0),
            format!("{:?}", provenances.1),
        )?;
        Ok(writer)
    }

    /// Continues a store that was cut off under the configuration it was begun with.
    ///
    /// What a killed process left beside the store is removed, so no other process may be writing it.
    ///
    /// # Errors
    /// [`DataError::Config`], [`DataError::Exists`] for a finished store, [`DataError::NotAStore`] where no store was
    /// begun, [`DataError::Manifest`], [`DataError::Malformed`], [`DataError::Checksum`] and those of
    /// [`EmbeddingStore::open`] where a file is damaged, and [`DataError::Io`].
    pub fn reopen(path: impl AsRef<Path>, rows_per_shard: usize) -> Result<Self, DataError> {
        check_rows_per_shard(rows_per_shard)?;
        let path = path.as_ref().to_owned();
        let partial = path.join(PARTIAL);
        if path.join(MANIFEST).exists() {
            // Killed between its last two steps.
            if partial.exists() {
                let shards = Manifest::read(&path.join(MANIFEST))?.shards;
                fs::remove_file(&partial).map_err(DataError::io(&partial))?;
                sweep(&path, &shards.into_iter().map(|shard| shard.file).collect::<Vec<_>>())?;
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
        let row_bytes = manifest.dim * manifest.dtype.size();
        let shard = manifest.shards.len();
        let (position, (tail, buffer)) = match manifest.unfinished.take() {
            Some(progress) => (progress.position, Tail::open(&path, shard, &progress.tail, row_bytes)?),
            None => (manifest.rows as u64, (Tail::new(shard), ShardBuffer::new())),
        };
        let writer = Self { path, rows_per_shard, manifest, buffer, tail, position, resumed };
        writer.sweep()?;
        Ok(writer)
    }

    /// How many rows there are so far, those of a resumed store included.
    pub fn rows(&self) -> usize {
        self.manifest.rows + self.buffer.rows()
    }

    /// How many numbers a row has.
    pub fn dim(&self) -> usize {
        self.manifest.dim
    }

    /// Where the input of the rows goes on: what [`append`](StoreWriter::append) was told last, and one more for every
    /// [`push`](StoreWriter::push) since.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The keys of the rows that were there when the writer resumed, before any other row is added.
    pub fn resumed_keys(&self) -> impl DoubleEndedIterator<Item = Cow<'_, str>> {
        // Many at a time, since each reading opens the file. A key that cannot be read equals none of the input.
        let store = self.resumed.iter().flat_map(|store| {
            (0..store.rows()).step_by(KEYS).flat_map(|start| {
                let rows: Vec<usize> = (start..store.rows().min(start + KEYS)).collect();
                store
                    .keys(&rows)
                    .unwrap_or_else(|_| vec![String::new(); rows.len()])
                    .into_iter()
                    .map(Cow::Owned)
            })
        });
        store.chain((0..self.buffer.rows()).map(|row| String::from_utf8_lossy(self.buffer.row(row).0)))
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Every unusable row is refused by name, and the store stays as it was: [`DataError::RowSize`],
    /// [`FeatureError::NotFinite`], [`FeatureError::ZeroNorm`], [`DataError::Overflow`] and
    /// [`DataError::Underflow`] of the number type. [`DataError::Io`] where a full shard cannot be
    /// written; the row is kept then, and the next push tries again.
    pub fn push(&mut self, key: &str, values: &[f32]) -> Result<(), DataError> {
        self.append(&[(key, values)], self.position + 1)?;
        if self.full() { self.save() } else { Ok(()) }
    }

    /// Appends the rows that come from the input up to `position`, all or none of them. They stay in memory until
    /// [`save`](StoreWriter::save), which is due when the writer is [full](StoreWriter::full).
    ///
    /// # Errors
    /// Those of [`push`](StoreWriter::push), except that nothing is written.
    pub fn append<K: AsRef<str>, V: AsRef<[f32]>>(
        &mut self,
        rows: &[(K, V)],
        position: u64,
    ) -> Result<(), DataError> {
        for (index, (key, values)) in rows.iter().enumerate() {
            self.check_row(self.rows() + index, key.as_ref(), values.as_ref())?;
        }
        for (key, values) in rows {
            self.manifest.dtype.encode(values.as_ref(), &mut self.buffer.values);
            self.buffer.push_key(key.as_ref());
        }
        self.position = position;
        Ok(())
    }

    /// Whether the rows in memory fill a shard.
    pub fn full(&self) -> bool {
        self.buffer.rows() >= self.rows_per_shard
    }

    /// Makes all rows so far, and the position, safe on the disk: a resume finds exactly these, or those of a later
    /// call.
    ///
    /// # Errors
    /// [`DataError::Io`]; the rows are kept then, the files are as good as before, and the next call tries again.
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

    /// Appends many rows, stopping at the first that is refused.
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
    /// [`DataError::Empty`] without a single row (the folder is removed again), and [`DataError::Io`].
    pub fn finish(self) -> Result<EmbeddingStore, DataError> {
        let path = self.path.clone();
        self.close()?;
        EmbeddingStore::open(path)
    }

    /// As [`finish`](StoreWriter::finish), without opening the store: that reads every key, which a process that has
    /// no use for the rows can spare itself.
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
        fs::remove_file(&partial).map_err(DataError::io(&partial))?;
        self.tail = Tail::new(self.manifest.shards.len());
        self.sweep()
    }

    fn write_shard(&mut self, rows: usize) -> Result<(), DataError> {
        let entry = self.buffer.write(rows, &self.path, &self.manifest)?;
        self.manifest.rows += entry.rows;
        self.manifest.shards.push(entry);
        Ok(())
    }

    fn write_partial(&mut self) -> Result<(), DataError> {
        self.manifest.unfinished = Some(Progress { position: self.position, tail: self.tail.entry() });
        let written = self.manifest.write(&self.path.join(PARTIAL));
        self.manifest.unfinished = None;
        written
    }

    /// Removes the tails and shards that `partial.json` does not speak of, and temporary files.
    fn sweep(&self) -> Result<(), DataError> {
        let shards = self.manifest.shards.iter().map(|shard| shard.file.clone());
        sweep(&self.path, &shards.chain(self.tail.name()).collect::<Vec<_>>())
    }

    fn check_row(&self, row: usize, key: &str, values: &[f32]) -> Result<(), DataError> {
        let dtype = self.manifest.dtype;
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
        if let Some(column) = values.iter().position(|&value| !dtype.round(value).is_finite()) {
            let value = values[column];
            return Err(DataError::Overflow { row, key: key(), column, value, dtype });
        }
        if values.iter().all(|&value| dtype.round(value) == 0.0) {
            return Err(DataError::Underflow { row, key: key(), dtype });
        }
        Ok(())
    }
}

fn check_rows_per_shard(rows: usize) -> Result<(), ConfigError> {
    ensure(rows > 0, "rows_per_shard", rows, "at least 1")
}

/// Removes the files of a store that are not `kept`. Other files are not touched.
fn sweep(path: &Path, kept: &[String]) -> Result<(), DataError> {
    for name in file_names(path)? {
        let part =
            name.starts_with("shard-") && (name.ends_with(TAIL_SUFFIX) || name.ends_with(".safetensors"));
        if name.starts_with(TEMPORARY) || part && !kept.contains(&name) {
            let path = path.join(name);
            fs::remove_file(&path).map_err(DataError::io(&path))?;
        }
    }
    Ok(())
}

/// The names of the entries of a folder, as far as they are UTF-8: this crate's all are.
fn file_names(path: &Path) -> Result<Vec<String>, DataError> {
    let entries = fs::read_dir(path).map_err(DataError::io(path))?;
    let names = entries.filter_map(|entry| match entry {
        Ok(entry) => entry.file_name().into_string().ok().map(Ok),
        Err(error) => Some(Err(error)),
    });
    names.collect::<Result<_, _>>().map_err(DataError::io(path))
}
