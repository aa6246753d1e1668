//! Errors of models.

use std::path::PathBuf;

use sail_core::ConfigError;
use sail_hub::HubError;

use super::TensorProblems;

/// An error of a model that cannot be found, read or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file or folder cannot be read.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
    /// A required file is missing.
    #[error("{folder} has no {what}: looked for {}", looked_for.join(", "))]
    Missing {
        /// The folder, or the id on the hub.
        folder: String,
        /// What is missing.
        what: &'static str,
        /// The supported file names, in order of preference.
        looked_for: Vec<String>,
    },
    /// A file is invalid.
    #[error("invalid file {path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A value in a configuration file is unsupported or out of range.
    #[error("`{field}` of the model is {found}, expected {expected}")]
    Config {
        /// The field in the configuration file.
        field: &'static str,
        /// The value found.
        found: String,
        /// The supported values.
        expected: String,
    },
    /// The weights are those of an adapter, which changes another model.
    #[error(
        "{folder} is an adapter of PEFT for {base}, not a model: merge them in Python with `from peft import \
         AutoPeftModelForFeatureExtraction as Model` and \
         `Model.from_pretrained(\"{folder}\").merge_and_unload().save_pretrained(\"merged\")`, copy the files of the \
         tokenizer, and open the folder `merged`"
    )]
    Adapter {
        /// The folder, or the id on the hub.
        folder: String,
        /// The id of the model that it changes.
        base: String,
    },
    /// The weights do not match the configuration.
    #[error("the weights do not match the configuration of the model: {problems}")]
    Tensors {
        /// Every tensor that is missing, unexpected, misshapen, of another type, or not finite.
        problems: Box<TensorProblems>,
    },
    /// An option is out of range.
    #[error(transparent)]
    Option(#[from] ConfigError),
    /// The model cannot be fetched from the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}
