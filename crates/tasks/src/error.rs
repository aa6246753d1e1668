//! Errors of tasks.

use std::path::PathBuf;

use sail_core::HeadError;
use sail_data::DataError;
use sail_eval::EvalError;
use sail_extract::ExtractError;

use crate::class_pairing::PairingError;

/// An error of reading, embedding or scoring a task.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A file or folder cannot be read.
    #[error("cannot access {path}: expected {expected}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its content in the published layout.
        expected: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An annotation file is longer than any published one.
    #[error("{path} has {found} bytes, expected at most {limit}: is it the annotation file?")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Length in bytes.
        found: u64,
        /// Maximum length in bytes.
        limit: u64,
    },
    /// A file is not in the published format.
    #[error("{path}, {position}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The position in the file.
        position: String,
        /// The value found and the value expected.
        reason: String,
    },
    /// A file or folder is empty.
    #[error("{path} contains no {what}, expected at least one")]
    Empty {
        /// The file or folder.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The split does not exist.
    #[error("{path} has no split `{split}`, available splits: {available}")]
    NoSplit {
        /// The file.
        path: PathBuf,
        /// The requested split.
        split: String,
        /// The available splits with their sizes.
        available: String,
    },
    /// A duplicate name.
    #[error("{path} has a duplicate {what} `{name}`")]
    Duplicate {
        /// The file or folder.
        path: PathBuf,
        /// What has the name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A prompt template has no placeholder.
    #[error("template {number}, `{template}`, has no placeholder `{{c}}` for the name of the class")]
    Template {
        /// Number of the template, from 1.
        number: usize,
        /// The template.
        template: String,
    },
    /// The data set is of another type.
    #[error("the data set type in {path} is `{found}`, expected `classification`")]
    DatasetType {
        /// The file.
        path: PathBuf,
        /// The type of the data set.
        found: String,
    },
    /// The class folders are in the folders of splits.
    #[error("{path} contains splits instead of class folders: use one of them, such as {}", path.join(split).display())]
    Splits {
        /// The folder.
        path: PathBuf,
        /// The first split.
        split: String,
    },
    /// The class names do not match the class folders.
    #[error("cannot pair {path} with the class folders")]
    Pairing {
        /// The file of class names.
        path: PathBuf,
        /// The cause.
        #[source]
        source: PairingError,
    },
    /// A label is out of range.
    #[error("{path}: the label of `{key}` is {found}, expected an integer from 0 to {}", classes.saturating_sub(1))]
    Label {
        /// The archive.
        path: PathBuf,
        /// The image.
        key: String,
        /// The label.
        found: String,
        /// Number of classes.
        classes: usize,
    },
    /// An image has no label.
    #[error("{path}: the image `{key}` has no label, expected a member `{key}.cls`")]
    Unlabelled {
        /// The folder of the archives.
        path: PathBuf,
        /// The image.
        key: String,
    },
    /// A prompt cannot be embedded.
    #[error("the prompt `{prompt}` cannot be embedded: {reason}")]
    Prompt {
        /// The prompt.
        prompt: String,
        /// The reason.
        reason: String,
    },
    /// All items are skipped.
    #[error("all {count} {what} are unusable, first `{item}`: {reason}")]
    NothingLeft {
        /// What the items are.
        what: &'static str,
        /// Number of items.
        count: usize,
        /// The first item.
        item: String,
        /// The reason.
        reason: String,
    },
    /// The images cannot be read.
    #[error("cannot read the images")]
    Images(#[source] DataError),
    /// The features in the cache cannot be read.
    #[error("cannot read the features in {path}: remove the folder to compute them again")]
    Cache {
        /// The store.
        path: PathBuf,
        /// The cause.
        #[source]
        source: DataError,
    },
    /// The images or texts cannot be embedded.
    #[error("cannot embed the data of the task")]
    Extract(#[from] ExtractError),
    /// The head does not match the encoders.
    #[error("the head does not match the encoders")]
    Head(#[from] HeadError),
    /// The embeddings cannot be scored.
    #[error("cannot score the embeddings")]
    Eval(#[from] EvalError),
}
