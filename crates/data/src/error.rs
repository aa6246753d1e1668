//! The errors of this crate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sail_core::{ConfigError, FeatureError, FeatureSource};

use crate::Dtype;

/// Data that cannot be written, opened, paired or sampled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file system failed.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Rows that cannot be read or used.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// A path without the images or captions that were wanted.
    #[error(
        "{path} holds no {wanted} that can be read: expected a folder of images (for images), WebDataset tars \
         (.tar, or a folder of them), a table (.csv, .tsv, .jsonl, .parquet), COCO captions (.json) or one \
         caption a line (.txt)"
    )]
    NotASource {
        /// The path.
        path: PathBuf,
        /// `images` or `captions`.
        wanted: &'static str,
    },
    /// A table without a column that is needed.
    #[error("{path} has no column {wanted} that can be read; those that can are: {columns}")]
    NoColumn {
        /// The table.
        path: PathBuf,
        /// The column; several where any of them would do.
        wanted: String,
        /// The columns there are.
        columns: String,
    },
    /// An option that does not apply to a source.
    #[error("`{option}` does not apply to {path}, which is {kind}: leave it out")]
    SourceOption {
        /// The source.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// The option.
        option: &'static str,
    },
    /// One of several files whose keys are mere numbers.
    #[error(
        "the keys of {path} are the numbers of its rows, which the other files have as well: name a column of keys \
         or of paths, or read the files one by one"
    )]
    Numbered {
        /// The file.
        path: PathBuf,
    },
    /// A Parquet file, and no reader.
    #[error("cannot read {path}: this build is without Parquet; build it with the feature `parquet`")]
    NoParquet {
        /// The file.
        path: PathBuf,
    },
    /// A tar or Parquet file that cannot be read to its end.
    #[error("{path} cannot be read: {reason}; it may be cut off or damaged, so fetch or write it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// Rows without numbers.
    #[error("the features have 0 dimensions, expected at least 1")]
    NoDimensions,
    /// Caption sets that are not of one kind.
    #[error(
        "caption set {set} has the {field} {found}, expected {expected} as the first set has: encode all \
         captions in the same way"
    )]
    CaptionSets {
        /// Which set, from 0.
        set: usize,
        /// What differs: the dimension, or a field of the provenance.
        field: &'static str,
        /// What the set has.
        found: String,
        /// What the first set has.
        expected: String,
    },
    /// Sources that are to be read as one and are not of one kind.
    #[error(
        "{name} has the {field} {found}, expected {expected}: join only features that were made in the same way"
    )]
    Parts {
        /// The source.
        name: String,
        /// What differs: the dimension, the modality, the pairing, or a field of the provenance.
        field: &'static str,
        /// What the source has.
        found: String,
        /// What it should have, and which source has it.
        expected: String,
    },
    /// A configuration out of its range.
    #[error("invalid store configuration")]
    Config(#[from] ConfigError),
    /// The output is there already.
    #[error("{path} exists already: choose another folder, remove it, or resume it if it is unfinished")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing there.
    #[error(
        "`{spec}` is not there: expected an embedding store (a folder), FILE.safetensors or \
         FILE.safetensors:TENSOR, or several of them with commas between"
    )]
    NotFound {
        /// What was asked for.
        spec: String,
    },
    /// Something there, but no features.
    #[error(
        "{path} holds no features: expected an embedding store (a folder), FILE.safetensors or \
         FILE.safetensors:TENSOR"
    )]
    NotFeatures {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a manifest.
    #[error("{path} is not an embedding store: it has no {expected}")]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// The absent file.
        expected: &'static str,
    },
    /// A store whose writer never finished.
    #[error("the embedding store {path} is unfinished: resume its encoding, or remove it and start again")]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// A manifest that is not the JSON it should be.
    #[error("{path} is not a valid manifest")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A file that contradicts its format, its manifest or itself.
    #[error("{path}: {what} is {found}, expected {expected}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part that is wrong.
        what: String,
        /// What the file says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A file that is not safetensors.
    #[error("{path} is not a valid safetensors file")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// A shard whose contents are not those that were written.
    #[error("{path} is damaged: its SHA-256 is {found}, expected {expected}; copy or encode it again")]
    Checksum {
        /// The shard.
        path: PathBuf,
        /// The checksum in the manifest.
        expected: String,
        /// The checksum of the file.
        found: String,
    },
    /// A safetensors file without the tensor that is needed.
    #[error("{path} has no {wanted}; it has {available}")]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
        /// The tensors there are.
        available: String,
    },
    /// A safetensors file in which several tensors would do.
    #[error("{path} has several candidates ({candidates}): choose one as FILE.safetensors:TENSOR")]
    SeveralTensors {
        /// The file.
        path: PathBuf,
        /// The tensors, with types and shapes.
        candidates: String,
    },
    /// A row of another size than the store's.
    #[error("row {row} (key `{key}`) has {found} numbers, expected {expected}")]
    RowSize {
        /// The row.
        row: usize,
        /// Its key.
        key: String,
        /// Its size.
        found: usize,
        /// The store's dimension.
        expected: usize,
    },
    /// A finite number that the number type cannot hold.
    #[error(
        "row {row} (key `{key}`) has the value {value} in column {column}, beyond the range of {dtype}: \
         write the store as bf16 or f32"
    )]
    Overflow {
        /// The row.
        row: usize,
        /// Its key.
        key: String,
        /// The first such column.
        column: usize,
        /// The value.
        value: f32,
        /// The store's number type.
        dtype: Dtype,
    },
    /// A row that the number type rounds to zeros.
    #[error("row {row} (key `{key}`) rounds to all zeros in {dtype}: write the store as bf16 or f32")]
    Underflow {
        /// The row.
        row: usize,
        /// Its key.
        key: String,
        /// The store's number type.
        dtype: Dtype,
    },
    /// A source without rows.
    #[error("there are no rows: a source of features has at least 1")]
    Empty,
    /// A matrix whose size is no multiple of its dimension.
    #[error(
        "the matrix has {found} numbers, expected a multiple of its dimension {dim}, which is at least 1"
    )]
    MatrixSize {
        /// How many numbers there are.
        found: usize,
        /// The dimension.
        dim: usize,
    },
    /// Another number of keys than of rows.
    #[error("there are {found} keys, expected {expected}: one a row")]
    KeyCount {
        /// How many keys.
        found: usize,
        /// How many rows.
        expected: usize,
    },
    /// More rows than 32-bit indices reach.
    #[error("a source has {found} rows, expected fewer than {}: split it into several", u32::MAX)]
    TooManyRows {
        /// How many there are.
        found: usize,
    },
    /// Images with nothing to pair with.
    #[error("there is no caption set, expected at least 1")]
    NoCaptions,
    /// Image keys that occur more than once.
    #[error("{} image rows repeat a key, expected each key once: {keys}", keys.count)]
    DuplicateKeys {
        /// The repeated keys.
        keys: KeySample,
    },
    /// Sources that have to pair by position, with different numbers of rows.
    #[error(
        "caption set {set} has {captions} rows and the images have {images}, expected as many: \
         {side} rows have no keys, so rows can pair by position only; use embedding stores to pair by key"
    )]
    Positions {
        /// Which caption set, from 0.
        set: usize,
        /// Its rows.
        captions: usize,
        /// The images' rows.
        images: usize,
        /// The side without keys.
        side: &'static str,
    },
    /// Keys of one side that the other side does not have.
    #[error(
        "the keys of the images and of caption set {set} differ: {} image rows have no caption \
         ({only_images}), {} caption rows have no image ({only_captions}); \
         encode the same items on both sides",
        only_images.count, only_captions.count
    )]
    Unmatched {
        /// Which caption set, from 0.
        set: usize,
        /// Image rows without a caption.
        only_images: KeySample,
        /// Caption rows without an image.
        only_captions: KeySample,
    },
    /// A holdout that leaves nothing to train on.
    #[error("cannot hold out {holdout} of {pairs} pairs, expected fewer: lower the holdout or add data")]
    Holdout {
        /// How many to hold out.
        holdout: usize,
        /// How many there are.
        pairs: usize,
    },
    /// A batch without a second row has no negatives.
    #[error("the batch size is {batch}, expected at least 2: contrast needs a negative")]
    BatchTooSmall {
        /// The batch size.
        batch: usize,
    },
    /// Too few rows for a single batch.
    #[error("{rows} rows do not fill a batch of {batch}: lower the batch size to at most {rows} or add data")]
    TooFewRows {
        /// How many rows there are.
        rows: usize,
        /// The batch size.
        batch: usize,
    },
}

impl DataError {
    /// For `map_err`: an I/O error with its path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// [`DataError::Malformed`] unless `valid`.
pub(crate) fn ensure_file(
    valid: bool,
    path: &Path,
    what: impl fmt::Display,
    found: impl fmt::Display,
    expected: impl fmt::Display,
) -> Result<(), DataError> {
    if valid {
        return Ok(());
    }
    Err(DataError::Malformed {
        path: path.to_owned(),
        what: what.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

/// The first few of many keys, for an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySample {
    /// The first few distinct keys, in the order of their rows.
    pub first: Vec<String>,
    /// How many rows there are in all.
    pub count: usize,
}

impl KeySample {
    const SHOWN: usize = 5;

    /// Counts a row; its key is read only while few are shown.
    pub(crate) fn add_row(&mut self, source: &dyn FeatureSource, row: usize) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            let key = source.key(row).into_owned();
            if !self.first.contains(&key) {
                self.first.push(key);
            }
        }
    }
}

impl fmt::Display for KeySample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("none");
        }
        for (index, key) in self.first.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{key}`")?;
        }
        if self.count > self.first.len() {
            f.write_str(", ...")?;
        }
        Ok(())
    }
}
