//! Errors of this crate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sail_core::{ConfigError, FeatureError, StoreDtype};
use sail_support::{ReadError, StandIn};

use crate::key_rewrite::KeyRewrite;
use crate::key_sample::KeySample;
use crate::pairing::Pairing;
use crate::source::PassedOver;

/// An error of writing, opening, pairing or sampling data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An I/O error.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Rows cannot be read or used.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The path holds no images, or no captions.
    #[error(
        "{path} contains no {wanted}{}: expected a folder of images (with captions in files beside them), WebDataset \
         tars (.tar, or a folder of them), a table (.csv, .tsv, .jsonl, .parquet, or a folder of Parquet files), COCO \
         captions (.json) or a text file with one caption per line (.txt)",
        passed_over.in_parentheses()
    )]
    NotASource {
        /// The path.
        path: PathBuf,
        /// `images` or `captions`.
        wanted: &'static str,
        /// What it contains.
        passed_over: PassedOver,
    },
    /// Content in the place of a file, such as a pointer of Git LFS.
    #[error("{path} is {found}")]
    StandIn {
        /// The file.
        path: PathBuf,
        /// What it is, and the remedy.
        found: StandIn,
    },
    /// A line of a list of keys that is none.
    #[error("{path}: line {number} {reason}")]
    ListLine {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A required column is missing in a table.
    #[error("{path} has no usable column {wanted}, expected one of {columns}")]
    NoColumn {
        /// The table.
        path: PathBuf,
        /// The column, or several alternatives.
        wanted: String,
        /// The available columns.
        columns: String,
    },
    /// An option does not apply to this kind of source.
    #[error("`{option}` does not apply to {path}, which is {kind}: leave it out")]
    SourceOption {
        /// The source.
        path: PathBuf,
        /// The kind of source.
        kind: &'static str,
        /// The option.
        option: &'static str,
    },
    /// Two files have captions of the same key, although keys are unique in the source.
    #[error(
        "{path} has captions of the key `{key}`, which {first} has too: scope keys by file, or read the files one by one \
         if they describe the same images"
    )]
    KeyInFiles {
        /// The key.
        key: String,
        /// The earlier file.
        first: PathBuf,
        /// The file.
        path: PathBuf,
    },
    /// Parquet support is not compiled in.
    #[error("cannot read {path}: Parquet is unsupported in this build, enable the feature `parquet`")]
    NoParquet {
        /// The file.
        path: PathBuf,
    },
    /// A tar or Parquet file is truncated or corrupt.
    #[error("{path} is truncated or corrupt: {reason}; download or write it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem, and where it is.
        reason: String,
    },
    /// The embedding dimension is 0.
    #[error("the embedding dimension is 0, expected at least 1")]
    NoDimensions,
    /// Caption sets are incompatible with each other.
    #[error(
        "caption set {set} has the {field} {found}, expected {expected} as in set 0: encode all captions with the \
         same model and settings"
    )]
    CaptionSets {
        /// Index of the set.
        set: usize,
        /// The dimension, or a field of the provenance.
        field: &'static str,
        /// The value of this set.
        found: String,
        /// The value of the first set.
        expected: String,
    },
    /// Sources to be concatenated are incompatible.
    #[error(
        "{name} has the {field} {found}, expected {expected}: concatenate only features of the same model and settings"
    )]
    Parts {
        /// The source.
        name: String,
        /// The dimension, the modality, the pairing, or a field of the provenance.
        field: &'static str,
        /// The value of this source.
        found: String,
        /// The expected value, and the source that has it.
        expected: String,
    },
    /// An invalid configuration.
    #[error("invalid store configuration")]
    Config(#[from] ConfigError),
    /// The output exists already.
    #[error("{path} exists already: choose another folder, remove it, or resume it if it is unfinished")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The path does not exist.
    #[error(
        "`{spec}` does not exist: expected an embedding store (a folder), FILE.safetensors or \
         FILE.safetensors:TENSOR, or a comma-separated list of these"
    )]
    NotFound {
        /// The features as specified.
        spec: String,
    },
    /// The file has another format.
    #[error(
        "{path} contains no features: expected an embedding store (a folder), FILE.safetensors or \
         FILE.safetensors:TENSOR"
    )]
    NotFeatures {
        /// The file.
        path: PathBuf,
    },
    /// The folder has no manifest.
    #[error("{path} is not an embedding store: {expected} is missing")]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// The missing file.
        expected: &'static str,
    },
    /// The store was not finished.
    #[error("the embedding store {path} is unfinished: resume its encoding, or remove it and start over")]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest cannot be parsed.
    #[error("{path} is not a valid manifest")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A file is inconsistent with its format, its manifest or itself.
    #[error("{path}: {what} is {found}, expected {expected}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The invalid part.
        what: String,
        /// The value in the file.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// The file is not a valid safetensors file.
    #[error("{path} is not a valid safetensors file")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The checksum of a shard does not match.
    #[error("{path} is corrupt: its SHA-256 is {found}, expected {expected}; copy or encode it again")]
    Checksum {
        /// The shard.
        path: PathBuf,
        /// The checksum in the manifest.
        expected: String,
        /// The checksum of the file.
        found: String,
    },
    /// A tensor is missing in a safetensors file.
    #[error("{path} has no {wanted}, it contains {available}")]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The tensor that is needed.
        wanted: String,
        /// The available tensors.
        available: String,
    },
    /// Several tensors of a safetensors file match.
    #[error("{path} has several matching tensors ({candidates}): choose one as FILE.safetensors:TENSOR")]
    SeveralTensors {
        /// The file.
        path: PathBuf,
        /// The tensors, with dtypes and shapes.
        candidates: String,
    },
    /// A row has another dimension than the store.
    #[error("row {row} (key `{key}`) has {found} values, expected {expected}")]
    RowSize {
        /// Index of the row.
        row: usize,
        /// Its key.
        key: String,
        /// Number of values.
        found: usize,
        /// Embedding dimension of the store.
        expected: usize,
    },
    /// A finite value overflows the dtype of the store.
    #[error(
        "row {row} (key `{key}`) has the value {value} in column {column}, beyond the range of {dtype}: \
         write the store as bf16 or f32"
    )]
    Overflow {
        /// Index of the row.
        row: usize,
        /// Its key.
        key: String,
        /// Index of the first such column.
        column: usize,
        /// The value.
        value: f32,
        /// Dtype of the store.
        dtype: StoreDtype,
    },
    /// All values of a row underflow to zero in the dtype of the store.
    #[error("row {row} (key `{key}`) rounds to all zeros in {dtype}: write the store as bf16 or f32")]
    Underflow {
        /// Index of the row.
        row: usize,
        /// Its key.
        key: String,
        /// Dtype of the store.
        dtype: StoreDtype,
    },
    /// A key cannot be a line of a file.
    #[error(
        "the key {key:?} of row {row} has a line break and cannot be a line of {path}: use a format with keys, such as Parquet"
    )]
    KeyLine {
        /// Index of the row.
        row: usize,
        /// The key.
        key: String,
        /// The file of keys.
        path: PathBuf,
    },
    /// The caller stopped the work.
    #[error("stopped before the end")]
    Stopped,
    /// The source has no rows.
    #[error("the features have no rows, expected at least 1")]
    Empty,
    /// The size of a matrix is not a multiple of its dimension.
    #[error(
        "the matrix has {found} values, expected a multiple of the dimension {dim}, which must be at least 1"
    )]
    MatrixSize {
        /// Number of values.
        found: usize,
        /// Embedding dimension.
        dim: usize,
    },
    /// The number of keys is not the number of rows.
    #[error("there are {found} keys, expected {expected}: one per row")]
    KeyCount {
        /// Number of keys.
        found: usize,
        /// Number of rows.
        expected: usize,
    },
    /// Too many rows for 32-bit indices.
    #[error("the source has {found} rows, expected fewer than {}: split it", u32::MAX)]
    TooManyRows {
        /// Number of rows.
        found: usize,
    },
    /// There are no caption sets.
    #[error("there are no caption sets, expected at least 1")]
    NoCaptions,
    /// Several images have the same key.
    #[error(
        "{} image rows have duplicate keys, expected unique keys: {keys}; name each store once, and encode files that number \
         their rows anew as one source (a folder or a pattern)",
        keys.count
    )]
    DuplicateKeys {
        /// The duplicate keys.
        keys: KeySample,
    },
    /// Sources that pair by position differ in their number of rows.
    #[error(
        "caption set {set} has {captions} rows and the images have {images}, expected the same number: {side} rows have \
         no keys, so rows pair by position; use embedding stores to pair by key"
    )]
    Positions {
        /// Index of the caption set.
        set: usize,
        /// Number of its rows.
        captions: usize,
        /// Number of image rows.
        images: usize,
        /// The side without keys.
        side: &'static str,
    },
    /// Too many keys are without a counterpart on the other side.
    #[error(
        "the keys of the images and of caption set {set} differ, {pairing}: {} image rows have no caption \
         ({only_images}), {} caption rows have no image ({only_captions}){}; encode the same items on both sides with the \
         same keys, or drop the rows without a partner: `--unmatched drop` (`Unmatched::Drop`)",
        only_images.count, only_captions.count, rewrite.as_ref().map_or(String::new(), |rewrite| format!("; {rewrite}"))
    )]
    Unmatched {
        /// Index of the caption set with the fewest matches.
        set: usize,
        /// How many rows have a partner.
        pairing: Box<Pairing>,
        /// Image rows without a caption in that set.
        only_images: Box<KeySample>,
        /// Caption rows of that set without an image.
        only_captions: Box<KeySample>,
        /// A change of the keys under which more match, if most do not.
        rewrite: Option<Box<KeyRewrite>>,
    },
    /// The holdout leaves no pairs for training.
    #[error("cannot hold out {holdout} of {pairs} pairs: decrease the holdout or add data")]
    Holdout {
        /// Size of the holdout.
        holdout: usize,
        /// Number of rows.
        pairs: usize,
    },
    /// The batch size is below 2.
    #[error("the batch size is {batch}, expected at least 2: a contrastive loss needs in-batch negatives")]
    BatchTooSmall {
        /// The batch size.
        batch: usize,
    },
    /// There are fewer rows than the batch size.
    #[error("{}", too_few(*rows, *batch))]
    TooFewRows {
        /// Number of rows.
        rows: usize,
        /// The batch size.
        batch: usize,
    },
}

fn too_few(rows: usize, batch: usize) -> String {
    match rows {
        0 | 1 => format!(
            "a batch needs at least 2 rows, found {rows}, because a contrastive loss compares a pair with the others of its batch: \
             hold out fewer or add data"
        ),
        rows => format!(
            "a batch of {batch} is larger than the {rows} rows: choose a smaller batch size or add data"
        ),
    }
}

impl DataError {
    /// Adds the path to an I/O error, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }

    /// Adds the path of a file that cannot be read, for `map_err`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(ReadError) -> Self + '_ {
        move |error| {
            let (what, found, expected) = match error {
                ReadError::Io(source) => return Self::io(path)(source),
                ReadError::NotAFile => {
                    ("the path", "a folder or a device".to_owned(), "a regular file".to_owned())
                }
                ReadError::TooLarge { found, limit } => {
                    ("the length", found.to_string(), format!("at most {limit} bytes"))
                }
            };
            Self::Malformed { path: path.to_owned(), what: what.to_owned(), found, expected }
        }
    }
}

/// Returns [`DataError::Malformed`] unless `valid`.
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
