//! What can be wrong with a task.

use std::path::PathBuf;

use sail_core::HeadError;
use sail_data::DataError;
use sail_eval::EvalError;
use sail_extract::ExtractError;

/// A task that cannot be read, embedded or scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A file or folder of the task could not be read.
    #[error("cannot access {path}: expected {expected}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it would be in the published layout.
        expected: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An annotation file that is longer than any published one.
    #[error("{path} has {found} bytes or more, expected at most {limit}: is it the annotation file?")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How many bytes were seen.
        found: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A file that is not in the published form.
    #[error("{path}, {place}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A file or folder that holds nothing to score.
    #[error("{path} has no {what}, expected at least one")]
    Empty {
        /// The file or folder.
        path: PathBuf,
        /// What it has none of.
        what: &'static str,
    },
    /// A split that the file does not have.
    #[error("{path} has nothing in the split `{split}`; its splits are {available}")]
    NoSplit {
        /// The file.
        path: PathBuf,
        /// The split that was asked for.
        split: String,
        /// The splits there are, with their sizes.
        available: String,
    },
    /// The same name twice where each may occur once.
    #[error("{path} has the {what} `{name}` twice, expected it once")]
    Duplicate {
        /// The file or folder.
        path: PathBuf,
        /// What the name is of.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A prompt template that would say the same of every class.
    #[error("template {number}, `{template}`, has no placeholder `{{c}}` for the name of the class")]
    Template {
        /// Which template, from 1.
        number: usize,
        /// The template.
        template: String,
    },
    /// A data set of another kind.
    #[error("{path} says that the data set is for {found}, expected one for classification")]
    DatasetType {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A class that no image shows.
    #[error("the class folder {path} has no image: add some or remove the folder")]
    ClassWithoutImages {
        /// The folder.
        path: PathBuf,
    },
    /// Another number of names than of classes.
    #[error(
        "{path} has {found} names, expected {expected}: one a class folder, in the order of the folders' names"
    )]
    ClassCount {
        /// The file.
        path: PathBuf,
        /// How many names there are.
        found: usize,
        /// How many class folders there are.
        expected: usize,
    },
    /// A label that no class has.
    #[error("{path}: the label of `{key}` is {found}, expected a number from 0 to {}", classes.saturating_sub(1))]
    Label {
        /// The archive.
        path: PathBuf,
        /// The image.
        key: String,
        /// The label.
        found: String,
        /// How many classes there are.
        classes: usize,
    },
    /// An image that no label belongs to.
    #[error("{path}: the image `{key}` has no label, expected a member `{key}.cls`")]
    Unlabelled {
        /// The folder of the archives.
        path: PathBuf,
        /// The image.
        key: String,
    },
    /// A prompt that the text model cannot take.
    #[error("the prompt `{prompt}` cannot be embedded: {reason}")]
    Prompt {
        /// The prompt.
        prompt: String,
        /// Why.
        reason: String,
    },
    /// A task of which nothing is left to score.
    #[error("none of the {count} {what} can be scored; the first, `{item}`: {reason}")]
    NothingLeft {
        /// What there were.
        what: &'static str,
        /// How many were left out.
        count: usize,
        /// The first that was left out.
        item: String,
        /// Why.
        reason: String,
    },
    /// The images cannot be read.
    #[error("cannot read the images")]
    Images(#[source] DataError),
    /// The features in the cache cannot be used.
    #[error("cannot use the features in {path}: remove the folder to embed them again")]
    Cache {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DataError,
    },
    /// The images or texts cannot be embedded.
    #[error("cannot embed the data of the task")]
    Extract(#[from] ExtractError),
    /// The head does not go with the encoders.
    #[error("the head does not go with the encoders")]
    Head(#[from] HeadError),
    /// The embeddings cannot be scored.
    #[error("cannot score the embeddings")]
    Eval(#[from] EvalError),
}
