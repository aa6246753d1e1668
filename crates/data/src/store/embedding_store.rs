//! Reading a store.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, Modality, Progress, ProgressCounter, Provenance, StoreDtype};

use super::manifest::{MANIFEST, Manifest, PARTIAL, ShardEntry};
use super::shard::Shard;
use crate::error::ensure_file;
use crate::gather::{Wanted, cut, sorted};
use crate::stored_matrix::{Job, read_rows};
use crate::{DataError, Fingerprint};

/// Frozen features on disk, written by a [`StoreWriter`](crate::StoreWriter).
///
/// A store is a folder:
///
/// - `manifest.json`: `format` (`sail-embeddings`), `version` (1 to 3), `modality`, `provenance`, `dim`, `dtype`
///   (`f16`, `bf16`, `f32`, `int8`), `rows`, and `shards`, each with its `file`, `rows`, `bytes` and `sha256`.
/// - `shard-00000.safetensors`, ...: plain safetensors files with `embeddings` `[rows, dim]` and the keys of
///   the rows as `key_bytes` (U8, concatenated UTF-8) and `key_offsets` (U64 `[rows + 1]`, from 0). With `int8`, `embeddings`
///   is U8 `[rows, bytes]`: for each token of a row its scale in `f32`, little-endian, and an integer in a byte for each value;
///   a row without token states is one token.
///
/// Rows and keys stay on disk and are read on demand, so opening is cheap, memory use does not grow with the store (a few
/// hundred bytes per shard), and no file stays open. [`gather`](FeatureSource::gather) reads rows in the order of the
/// file, contiguous ones at once, and converts them to `f32`; scattered rows are read by up to 32 threads, since disks
/// serve concurrent requests faster.
///
/// The files must not change while a store is in use. Length, modification time and inode of a shard are compared with
/// those at opening before and after every read; if they differ, the error is [`FeatureError::Changed`].
///
/// # Examples
/// ```
/// use sail_core::{FeatureSource, Modality, Provenance};
/// use sail_data::{EmbeddingStore, StoreConfig, StoreWriter};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("store");
/// let config = StoreConfig::new(Modality::Text, Provenance::new("all-MiniLM-L6-v2"), 2);
/// let mut writer = StoreWriter::create(&path, config)?;
/// writer.push("first", &[1.0, 2.0])?;
/// writer.push("second", &[3.0, 4.0])?;
/// writer.finish()?;
///
/// let store = EmbeddingStore::open(&path)?;
/// let mut row = [0.0; 2];
/// store.gather(&[1], &mut row)?;
/// assert_eq!((store.key(1).as_ref(), row), ("second", [3.0, 4.0]));
/// store.verify(|_| {})?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EmbeddingStore {
    path: PathBuf,
    manifest: Manifest,
    shards: Vec<Shard>,
    /// The first row of each shard.
    starts: Vec<usize>,
}

impl EmbeddingStore {
    /// Opens a store and validates the manifest and the header of each shard. Keys and embeddings are not read until they
    /// are needed; see [`verify`](EmbeddingStore::verify).
    ///
    /// # Errors
    /// [`DataError::NotAStore`] and [`DataError::Unfinished`]; [`DataError::Manifest`], [`DataError::Safetensors`],
    /// [`DataError::NoTensor`] and [`DataError::Malformed`] for corrupt or malicious files; [`DataError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let file = path.join(MANIFEST);
        if path.is_dir() && !file.exists() {
            let path = path.to_owned();
            return Err(match path.join(PARTIAL).exists() {
                true => DataError::Unfinished { path },
                false => DataError::NotAStore { path, expected: MANIFEST },
            });
        }
        let manifest = Manifest::read(&file)?;
        ensure_file(
            manifest.unfinished.is_none(),
            &file,
            "`unfinished`",
            "present",
            "a finished store's manifest",
        )?;
        if manifest.rows == 0 {
            return Err(DataError::Empty);
        }
        Self::with_manifest(path, manifest)
    }

    pub(crate) fn with_manifest(path: &Path, manifest: Manifest) -> Result<Self, DataError> {
        let open = |entry| Shard::open(path, &manifest, entry);
        let shards = in_order(manifest.shards.par_iter().map(open).collect())?;
        let starts = shards
            .iter()
            .scan(0, |next, shard: &Shard| {
                let start = *next;
                *next += shard.rows();
                Some(start)
            })
            .collect();
        Ok(Self { path: path.to_owned(), manifest, shards, starts })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether rows are images or texts.
    pub fn modality(&self) -> Modality {
        self.manifest.modality
    }

    /// Returns the dtype of the stored values.
    pub fn dtype(&self) -> StoreDtype {
        self.manifest.dtype
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Returns the size of all shards in bytes.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(Shard::bytes).sum()
    }

    /// Reads every shard once, in parallel, and verifies its checksum, its keys, and that every row is finite and not all
    /// zeros. `progress` counts the bytes of all shards.
    ///
    /// # Errors
    /// Those of the first invalid shard: [`DataError::Checksum`], [`DataError::Malformed`] for a key,
    /// [`FeatureError::NotFinite`] and [`FeatureError::ZeroNorm`] for the first unusable row, and errors of reading.
    pub fn verify(&self, progress: impl FnMut(Progress) + Send) -> Result<(), DataError> {
        self.verify_as(self, 0, &ProgressCounter::new(self.bytes(), "bytes", progress))
    }

    /// [`verify`](Self::verify) as a part of `rows`, in which errors name the row: this store begins at `first`.
    pub(crate) fn verify_as(
        &self,
        rows: &dyn FeatureSource,
        first: usize,
        counter: &ProgressCounter<impl FnMut(Progress) + Send>,
    ) -> Result<(), DataError> {
        let _span = tracing::info_span!("verify", shards = self.shards.len()).entered();
        let verify = |((shard, entry), start): ((&Shard, &ShardEntry), &usize)| {
            shard.verify(&entry.sha256, rows, first + start, |bytes| counter.add(bytes))
        };
        let shards = self.shards.par_iter().zip(&self.manifest.shards).zip(&self.starts);
        shards.map(verify).find_map_first(Result::err).map_or(Ok(()), Err)
    }

    /// Adds what identifies the contents of the store.
    pub(crate) fn identify(&self, fingerprint: &mut Fingerprint) -> Option<()> {
        fingerprint.add(&serde_json::to_vec(&self.manifest).ok()?);
        self.shards.iter().try_for_each(|shard| shard.file.identify(fingerprint))
    }

    /// Reads sorted rows into their output slices.
    pub(crate) fn scatter(&self, wanted: &mut [Wanted]) -> Result<(), FeatureError> {
        read_rows(cut(wanted, &self.starts).into_iter().map(|(shard, wanted)| {
            let Shard { file, matrix, .. } = &self.shards[shard];
            Job { file, matrix, wanted }
        }))
    }
}

/// Returns the first error in the order of the shards, independent of the order of the threads.
fn in_order<T>(results: Vec<Result<T, DataError>>) -> Result<Vec<T>, DataError> {
    results.into_iter().collect()
}

impl FeatureSource for EmbeddingStore {
    fn rows(&self) -> usize {
        self.manifest.rows
    }

    fn dim(&self) -> usize {
        self.manifest.dim
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        self.keys(&[row]).ok().and_then(|mut keys| keys.pop()).unwrap_or_default().into()
    }

    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, FeatureError> {
        if let Some(&row) = rows.iter().find(|&&row| row >= self.rows()) {
            return Err(FeatureError::OutOfRange { row, rows: self.rows() });
        }
        let mut keys = vec![String::new(); rows.len()];
        let mut wanted: Vec<(usize, &mut String)> = rows.iter().copied().zip(&mut keys).collect();
        if !rows.is_sorted() {
            wanted.sort_unstable_by_key(|&(row, _)| row);
        }
        for (shard, wanted) in cut(&mut wanted, &self.starts) {
            self.shards[shard].read_keys(wanted)?;
        }
        Ok(keys)
    }

    fn provenance(&self) -> Option<&Provenance> {
        Some(&self.manifest.provenance)
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        self.scatter(&mut sorted(self.rows(), self.dim(), rows, out)?)
    }
}
