//! Errors of indexes.

use std::path::{Path, PathBuf};

use sail_core::ConfigError;
use sail_data::DataError;
use sail_data::source::PassedOver;

use crate::{CodesError, EmbedError, SearchError};

/// An error of opening, searching or updating an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The folder is not an index.
    #[error("{} is not an index: index.json is missing", path.display())]
    NotAnIndex {
        /// The folder.
        path: PathBuf,
    },
    /// The first update of an index was interrupted before its first images were searchable.
    #[error(
        "the index {} has no images yet: its first update has not come far enough, run it again to continue",
        path.display()
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// The folder exists and is something else.
    #[error("{} exists already and is not an index: choose another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the index is corrupt, truncated or of a newer version.
    #[error("{}: {what} is {found}, expected {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part that is wrong.
        what: String,
        /// Its value.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// `index.json` is not valid JSON or has unknown or missing fields.
    #[error("{} is not a valid index.json", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// Embeddings or other arrays cannot be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An I/O error.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Codes cannot be made or read.
    #[error(transparent)]
    Codes(#[from] CodesError),
    /// A search cannot be opened.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A graph cannot be built or read.
    #[cfg(feature = "approximate")]
    #[error(transparent)]
    Graph(#[from] crate::GraphError),
    /// A row does not exist.
    #[error("row {row} does not exist: the index has {rows} rows")]
    Row {
        /// The row.
        row: usize,
        /// Number of rows.
        rows: usize,
    },
    /// A filter that is not understood, or names an unknown column.
    #[error("the filter `{filter}` {problem}")]
    Filter {
        /// The filter.
        filter: String,
        /// The problem, with what is allowed.
        problem: String,
    },
    /// An invalid option.
    #[error("invalid option of the index")]
    Config(#[from] ConfigError),
    /// The index was made with another model.
    #[error(
        "the index {} is of another model: its {what} is {expected}, that of this model is {found}; use the same model, or \
         make a new index", path.display()
    )]
    Model {
        /// The folder of the index.
        path: PathBuf,
        /// What differs, such as the model of a side.
        what: String,
        /// The value of this model.
        found: String,
        /// The value of the index.
        expected: String,
    },
    /// An option contradicts what the index was made with.
    #[error("`{option}` is {found}, and the index {} was made with {expected}: leave the option out, or make a new index",
        path.display())]
    Setting {
        /// The folder of the index.
        path: PathBuf,
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// The value of the index.
        expected: String,
    },
    /// Another process is updating the index.
    #[error("another process is updating {}: wait for it, searches are possible meanwhile", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The source cannot be read.
    #[error("cannot read the source")]
    Source(#[source] DataError),
    /// The source has no images.
    #[error("the source has no images, expected at least 1{}", passed_over.in_parentheses())]
    NoRecords {
        /// What it has instead.
        passed_over: PassedOver,
    },
    /// None of the images can be used.
    #[error("all {records} images are unusable, the first because {reason}: see {}", path.display())]
    AllSkipped {
        /// Number of images.
        records: u64,
        /// The first reason.
        reason: String,
        /// The list.
        path: PathBuf,
    },
    /// Most images of the index are missing in the source.
    #[error(
        "{missing} of {rows} images of the index are missing in the source, the first is `{first}`: allow this (`--prune`) \
         if they were deleted, or name the source that the index was made of"
    )]
    Missing {
        /// Number of images that are missing.
        missing: usize,
        /// Number of images of the index.
        rows: usize,
        /// The key of the first one.
        first: String,
    },
    /// The model cannot embed images.
    #[error("the model cannot embed the images from key `{first}` to key `{last}`")]
    Embed {
        /// The first key.
        first: String,
        /// The last key.
        last: String,
        /// The cause.
        source: EmbedError,
    },
    /// The model does not work.
    #[error("the model cannot be used")]
    Unusable(#[from] EmbedError),
    /// The model returns rows that do not fit.
    #[error("the model returned {found}, expected {expected}")]
    Rows {
        /// Number of rows and their dimension.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The update was stopped.
    #[error("stopped after {done} of {records} images: run the update again to continue")]
    Stopped {
        /// Images done.
        done: u64,
        /// Images in total.
        records: u64,
    },
    /// None of the captions or columns is of an image of the index.
    #[error(
        "none of the {records} {what} has the key of an image: the first has the key `{found}`, and the first image `{expected}`; \
         choose the key with `--key-column`"
    )]
    Unpaired {
        /// `captions`, or the name of the column.
        what: String,
        /// Number of records.
        records: u64,
        /// The first key.
        found: String,
        /// The first key of an image.
        expected: String,
    },
    /// No image has a caption.
    #[error("the index {} has no captions: add them with `sail index --captions`", path.display())]
    NoCaptions {
        /// The folder.
        path: PathBuf,
    },
    /// The captions and columns of an image are too long.
    #[error("the captions and columns of `{key}` have more than {limit} bytes")]
    LongNote {
        /// The key of the image.
        key: String,
        /// The limit.
        limit: usize,
    },
    /// There are no indexes to merge.
    #[error("there are no indexes to merge, expected at least 1")]
    NoParts,
    /// Indexes to be merged have an image in common.
    #[error("{count} images are in several indexes, first `{key}` in {} and {}: remove them from one", first.display(),
        second.display())]
    DuplicateKeys {
        /// Number of images.
        count: usize,
        /// The first key.
        key: String,
        /// An index with it.
        first: PathBuf,
        /// The other index.
        second: PathBuf,
    },
}

impl IndexError {
    /// Adds the path to an I/O error, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Checks a value of a file.
pub(crate) fn ensure(
    ok: bool,
    path: &Path,
    what: impl Into<String>,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<(), IndexError> {
    match ok {
        true => Ok(()),
        false => Err(IndexError::Damaged {
            path: path.to_owned(),
            what: what.into(),
            found: found.to_string(),
            expected: expected.into(),
        }),
    }
}
