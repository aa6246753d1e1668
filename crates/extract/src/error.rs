//! Errors of an extraction.

use std::path::{Path, PathBuf};

use sail_core::{ConfigError, TowerError};
use sail_data::DataError;
use sail_data::source::PassedOver;

use crate::options::Part;

/// An error of an extraction or a merge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// An invalid option.
    #[error("invalid extraction options")]
    Config(#[from] ConfigError),
    /// The source has no records.
    #[error("the source has no records, expected at least 1{}", found(passed_over))]
    NoRecords {
        /// What it has instead.
        passed_over: PassedOver,
    },
    /// There are no parts to merge.
    #[error("there are no parts, expected at least 1")]
    NoParts,
    /// A part has no records.
    #[error(
        "part {part} is empty: the {records} records are {blocks} blocks of {block}, and a part has at least one block; \
         use fewer parts"
    )]
    EmptyPart {
        /// The part.
        part: Part,
        /// Number of records in total.
        records: u64,
        /// Number of blocks.
        blocks: u64,
        /// Records per block.
        block: usize,
    },
    /// An I/O error in the output folder.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The output folder exists already.
    #[error("{path} exists already: choose another folder, or resume the extraction in it")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// There is no extraction to resume.
    #[error("{path} contains no extraction to resume: encode.json is missing")]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// The extraction was started with other options.
    #[error("the extraction in {path} was started with other settings: they differ in {}", fields.join(", "))]
    Changed {
        /// The folder.
        path: PathBuf,
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// The source has changed since the extraction started.
    #[error(
        "the source has changed since the extraction started: record {position} is {found}, expected {expected}; restore \
         it, or start over in another folder"
    )]
    SourceChanged {
        /// Position of the record, from 0.
        position: u64,
        /// The current key, or that it is missing.
        found: String,
        /// The key at the time of extraction.
        expected: String,
    },
    /// Another process is writing to the folder.
    #[error("another process is writing to {path}")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file in the output folder is corrupt.
    #[error("{path} is corrupt: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The source cannot be read.
    #[error("cannot read the source")]
    Source(#[source] DataError),
    /// A record is unusable, in strict mode.
    #[error("record {position} (key `{key}`) is unusable: {reason}")]
    Record {
        /// Position in the source, from 0.
        position: u64,
        /// Its key.
        key: String,
        /// The reason.
        reason: String,
    },
    /// All records are unusable.
    #[error("all {records} records are unusable: see {path} for the reasons")]
    AllSkipped {
        /// Number of records.
        records: u64,
        /// The list of skipped records.
        path: PathBuf,
    },
    /// The tower returned an error.
    #[error("the model cannot embed the records from key `{first}` to key `{last}`")]
    Tower {
        /// The first key of the block.
        first: String,
        /// The last key of the block.
        last: String,
        /// The cause.
        #[source]
        source: TowerError,
    },
    /// The towers of several devices are not the same model.
    #[error(
        "the towers are {found}, expected one for each device, all of the same model with the same settings"
    )]
    Towers {
        /// The towers.
        found: String,
    },
    /// The tower did not return one row per input.
    #[error("the model returned {found} rows for {expected} inputs, from key `{first}` on")]
    RowCount {
        /// The first key of the block.
        first: String,
        /// Number of rows.
        found: usize,
        /// Number of inputs.
        expected: usize,
    },
    /// The store cannot be written, or a row of the model is unusable.
    #[error(transparent)]
    Store(#[from] DataError),
    /// The extraction was stopped.
    #[error("stopped after {done} of {records} records: resume it to continue")]
    Stopped {
        /// Records done.
        done: u64,
        /// Records in total.
        records: u64,
    },
    /// A part is inconsistent with the other parts.
    #[error("{path}: {what} is {found}, expected {expected}")]
    Mismatch {
        /// The part.
        path: PathBuf,
        /// The inconsistent value.
        what: String,
        /// The value of the part.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// Several parts have the same image.
    #[error(
        "{count} images have the key of an earlier one, first `{first}` in {path}, and a single run would have skipped \
         them: remove them from the source and encode their parts again"
    )]
    DuplicateKeys {
        /// Number of rows.
        count: u64,
        /// The first duplicate key.
        first: String,
        /// The part with the duplicate.
        path: PathBuf,
    },
}

impl ExtractError {
    /// Adds the path to an I/O error, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What a source without records has instead.
fn found(passed_over: &PassedOver) -> String {
    if passed_over.is_empty() {
        return String::new();
    }
    let fields = match passed_over.suffixes.contains_key("json") {
        true => "; captions in `.json` members are chosen by their field (`--caption-column`)",
        false => "",
    };
    format!("; passed over {passed_over}{fields}")
}
