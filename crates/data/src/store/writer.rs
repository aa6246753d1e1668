//! Writing a store, one shard in memory at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sail_core::{Check, ConfigError, FeatureError, Modality, Provenance, ensure};

use super::EmbeddingStore;
use super::manifest::{MANIFEST, MAX_DIM, Manifest, PARTIAL};
use super::shard::ShardBuffer;
use crate::error::ensure_file;
use crate::{DataError, Dtype};

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
        ensure(self.rows_per_shard > 0, "rows_per_shard", self.rows_per_shard, "at least 1")
    }
}

/// Writes an [`EmbeddingStore`] row by row.
///
/// Shards appear one by one, each whole; the manifest comes last, so a store that was cut off cannot be
/// opened. It can be [resumed](StoreWriter::resume): `partial.json` lists the shards that are done.
/// Dropping the writer without [`finish`](StoreWriter::finish) leaves such an unfinished store.
#[derive(Debug)]
pub struct StoreWriter {
    path: PathBuf,
    rows_per_shard: usize,
    manifest: Manifest,
    buffer: ShardBuffer,
    resumed: Option<EmbeddingStore>,
}

impl StoreWriter {
    /// Starts a store in a new folder; parent folders are created.
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
        fs::create_dir(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => DataError::Exists { path: path.to_owned() },
            _ => DataError::Io { path: path.to_owned(), source },
        })?;
        let manifest = Manifest::new(config.modality, config.provenance, config.dim, config.dtype);
        manifest.write(&path.join(PARTIAL))?;
        Ok(Self {
            path: path.to_owned(),
            rows_per_shard: config.rows_per_shard,
            manifest,
            buffer: ShardBuffer::new(),
            resumed: None,
        })
    }

    /// Continues a store that was cut off. Its first [`rows`](StoreWriter::rows) rows are there already;
    /// [`resumed`](StoreWriter::resumed) shows their keys, to check that the input is still the same.
    ///
    /// # Errors
    /// [`DataError::Exists`] for a finished store, [`DataError::NotAStore`] where no store was begun,
    /// [`DataError::Malformed`] where it was begun with another configuration (the rows per shard may
    /// differ) or is damaged, and those of [`create`](StoreWriter::create).
    pub fn resume(path: impl AsRef<Path>, config: StoreConfig) -> Result<Self, DataError> {
        config.check()?;
        let path = path.as_ref().to_owned();
        if path.join(MANIFEST).exists() {
            return Err(DataError::Exists { path });
        }
        let partial = path.join(PARTIAL);
        if !partial.exists() {
            return Err(DataError::NotAStore { path, expected: PARTIAL });
        }
        let manifest = Manifest::read(&partial)?;
        let StoreConfig { modality, provenance, dim, dtype, rows_per_shard } = config;
        let found = &manifest;
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
        let resumed = match manifest.rows {
            0 => None,
            _ => Some(EmbeddingStore::with_manifest(&path, manifest.clone())?),
        };
        Ok(Self { path, rows_per_shard, manifest, buffer: ShardBuffer::new(), resumed })
    }

    /// How many rows there are so far, those of a resumed store included.
    pub fn rows(&self) -> usize {
        self.manifest.rows + self.buffer.rows()
    }

    /// The rows that were there when the writer resumed; `None` where there were none.
    pub fn resumed(&self) -> Option<&EmbeddingStore> {
        self.resumed.as_ref()
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Every unusable row is refused by name, and the store stays as it was: [`DataError::RowSize`],
    /// [`FeatureError::NotFinite`], [`FeatureError::ZeroNorm`], [`DataError::Overflow`] and
    /// [`DataError::Underflow`] of the number type. [`DataError::Io`] where a full shard cannot be
    /// written; the row is kept then, and the next push tries again.
    pub fn push(&mut self, key: &str, values: &[f32]) -> Result<(), DataError> {
        self.check_row(key, values)?;
        self.manifest.dtype.encode(values, &mut self.buffer.values);
        self.buffer.push_key(key);
        if self.buffer.rows() >= self.rows_per_shard {
            self.write_shard()?;
        }
        Ok(())
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

    /// Writes the last shard and the manifest.
    ///
    /// # Errors
    /// [`DataError::Empty`] without a single row (the folder is removed again), and [`DataError::Io`].
    pub fn finish(mut self) -> Result<EmbeddingStore, DataError> {
        let partial = self.path.join(PARTIAL);
        if self.rows() == 0 {
            fs::remove_file(&partial).map_err(DataError::io(&partial))?;
            fs::remove_dir(&self.path).map_err(DataError::io(&self.path))?;
            return Err(DataError::Empty);
        }
        if self.buffer.rows() > 0 {
            self.write_shard()?;
        }
        self.manifest.write(&self.path.join(MANIFEST))?;
        fs::remove_file(&partial).map_err(DataError::io(&partial))?;
        EmbeddingStore::open(&self.path)
    }

    fn write_shard(&mut self) -> Result<(), DataError> {
        let entry = self.buffer.write(&self.path, &self.manifest)?;
        self.manifest.rows += entry.rows;
        self.manifest.shards.push(entry);
        self.manifest.write(&self.path.join(PARTIAL))
    }

    fn check_row(&self, key: &str, values: &[f32]) -> Result<(), DataError> {
        let (row, dtype) = (self.rows(), self.manifest.dtype);
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
