//! What can go wrong in an extraction.

use std::path::{Path, PathBuf};

use sail_core::{ConfigError, TowerError};
use sail_data::DataError;

use crate::Part;

/// An extraction that cannot start, go on or be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// An option out of its range.
    #[error("invalid extraction options")]
    Config(#[from] ConfigError),
    /// A source without records.
    #[error("the source has no records: there is nothing to embed")]
    NoRecords,
    /// A part without records.
    #[error(
        "part {part} has no records: {records} records are {blocks} blocks of {block}, and a part is at least one \
         block; use fewer parts"
    )]
    EmptyPart {
        /// The part.
        part: Part,
        /// How many records there are in all.
        records: u64,
        /// How many blocks they make.
        blocks: u64,
        /// How many records a block has.
        block: usize,
    },
    /// A file of the output folder could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A new store would overwrite something.
    #[error("{path} exists: choose another folder, or resume the extraction in it")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// There is no extraction to resume.
    #[error("{path} holds no extraction to resume: it has no encode.json")]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// The extraction was started with other options.
    #[error("the extraction in {path} was started with other settings, which differ in {}", fields.join(", "))]
    Changed {
        /// The folder.
        path: PathBuf,
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// The source no longer gives what it gave.
    #[error(
        "the source has changed since the extraction began: record {position} is {found}, expected {expected}; \
         restore it, or start again in another folder"
    )]
    SourceChanged {
        /// The record's position, from 0.
        position: u64,
        /// The key that is there now, or that there is none.
        found: String,
        /// The key that was there.
        expected: String,
    },
    /// Another process holds the folder.
    #[error("another process is writing to {path}")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the output folder is damaged.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The source cannot be read.
    #[error("cannot read the source")]
    Source(#[source] DataError),
    /// A record that cannot be used, where that was declared an error.
    #[error("record {position} (key `{key}`) cannot be used: {reason}")]
    Record {
        /// Its position in the source, from 0.
        position: u64,
        /// Its key.
        key: String,
        /// Why.
        reason: String,
    },
    /// A source of which nothing can be used.
    #[error("none of the {records} records could be used: {path} says why")]
    AllSkipped {
        /// How many there are.
        records: u64,
        /// The list of skipped records.
        path: PathBuf,
    },
    /// The tower refuses its input.
    #[error("the model cannot embed the records from key `{first}` to key `{last}`")]
    Tower {
        /// The first key of the block.
        first: String,
        /// The last key of the block.
        last: String,
        /// Why.
        #[source]
        source: TowerError,
    },
    /// A tower that does not give one row an input.
    #[error("the model gave {found} rows for {expected} inputs, from key `{first}` on")]
    RowCount {
        /// The first key of the block.
        first: String,
        /// How many rows it gave.
        found: usize,
        /// How many inputs it got.
        expected: usize,
    },
    /// The store cannot be written, or refuses a row of the model.
    #[error(transparent)]
    Store(#[from] DataError),
    /// The extraction was told to stop.
    #[error("stopped after {done} of {records} records: resume it to continue")]
    Stopped {
        /// Records that are done.
        done: u64,
        /// Records in all.
        records: u64,
    },
    /// A part that does not belong to the others.
    #[error("{path}: {what} is {found}, expected {expected}")]
    Mismatch {
        /// The part.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// What the part says.
        found: String,
        /// What would fit.
        expected: String,
    },
    /// Images that are in several parts.
    #[error(
        "{count} images repeat the key of an earlier one, the first of them `{first}` in {path}: one run over all \
         records would skip them; remove them from the source and encode the parts that have them again"
    )]
    DuplicateKeys {
        /// How many rows.
        count: u64,
        /// The first repeated key.
        first: String,
        /// The part where it is met again.
        path: PathBuf,
    },
}

impl ExtractError {
    /// Wraps an I/O error with the path that it concerns, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
