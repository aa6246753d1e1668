//! The embedding store: a folder of shards under one manifest.

mod keys;
mod manifest;
mod shard;
mod tail;
mod writer;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, Modality, Provenance};

use self::manifest::{MANIFEST, Manifest, PARTIAL};
use self::shard::Shard;
use crate::error::ensure_file;
use crate::gather::{Wanted, cut, sorted};
use crate::stored_matrix::{Job, read_rows};
use crate::{DataError, Dtype};

pub use self::writer::{StoreConfig, StoreWriter};

/// Frozen features on disk, as [`StoreWriter`] left them.
///
/// A store is a folder:
///
/// - `manifest.json`: `format` (`sail-embeddings`), `version` (1), `modality`, `provenance`, `dim`, `dtype`
///   (`f16`, `bf16`, `f32`), `rows`, and `shards`, each with its `file`, `rows`, `bytes` and `sha256`.
/// - `shard-00000.safetensors`, ...: plain safetensors files with `embeddings` `[rows, dim]` and the keys of
///   the rows as `key_bytes` (U8, UTF-8, one after the other) and `key_offsets` (U64 `[rows + 1]`, from 0).
///
/// Rows and keys stay on disk and are read where they are needed, so opening is cheap, memory use does not grow with
/// the store (some hundred bytes a shard), and no file is kept open. [`gather`](FeatureSource::gather) reads rows in the
/// order of the disk, neighbours at once, and converts them on the way; scattered rows are read by up to 32 threads, as
/// disks answer many requests at once. Memory that the system keeps the files' pages in is its own and is given up when
/// it is needed.
///
/// The files must not be changed while a store is in use. Before and after every read, length, time of the last change
/// and inode of the shard are compared with those at the opening: what was read from a shard that was written to, or
/// replaced by another file, is not used, and the error is [`FeatureError::Changed`].
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
/// store.verify(|_bytes| {})?;
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
    /// Opens a store: checks the manifest, each shard's header against it, and the keys. Embeddings are not
    /// read; see [`verify`](EmbeddingStore::verify) and [`scan`](crate::scan()).
    ///
    /// # Errors
    /// [`DataError::NotAStore`] and [`DataError::Unfinished`]; [`DataError::Manifest`],
    /// [`DataError::Safetensors`], [`DataError::NoTensor`] and [`DataError::Malformed`] for
    /// damaged or hostile files; [`DataError::Io`].
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

    fn with_manifest(path: &Path, manifest: Manifest) -> Result<Self, DataError> {
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

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a row describes.
    pub fn modality(&self) -> Modality {
        self.manifest.modality
    }

    /// How a number is stored.
    pub fn dtype(&self) -> Dtype {
        self.manifest.dtype
    }

    /// How many files the rows are in.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The size of all shards in bytes, which is what [`verify`](EmbeddingStore::verify) reads.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(Shard::bytes).sum()
    }

    /// Compares every shard with its checksum, in parallel. `progress` is told the number of bytes read
    /// since its last call, from any thread.
    ///
    /// # Errors
    /// [`DataError::Checksum`] for the first shard that is damaged, and [`DataError::Io`].
    pub fn verify(&self, progress: impl Fn(u64) + Sync) -> Result<(), DataError> {
        let _span = tracing::info_span!("verify", shards = self.shards.len()).entered();
        let verify = |(shard, entry): (&Shard, &manifest::ShardEntry)| shard.verify(&entry.sha256, &progress);
        let shards = self.shards.par_iter().zip(&self.manifest.shards);
        in_order(shards.map(verify).collect()).map(drop)
    }

    /// Reads rows, which are sorted, to their places.
    pub(crate) fn scatter(&self, wanted: &mut [Wanted]) -> Result<(), FeatureError> {
        read_rows(cut(wanted, &self.starts).into_iter().map(|(shard, wanted)| {
            let Shard { file, matrix, .. } = &self.shards[shard];
            Job { file, matrix, wanted }
        }))
    }
}

/// The first error in the order of the shards, whichever thread was faster.
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
