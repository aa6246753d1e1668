//! Why a checkpoint cannot be used.

use std::path::PathBuf;

use super::HubError;

/// A model that cannot be found, read or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file system failed.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder without a file that every model must have.
    #[error("{folder} has no {what}: looked for {}", looked_for.join(", "))]
    Missing {
        /// The folder, or the id on the hub.
        folder: String,
        /// What is absent.
        what: &'static str,
        /// The names it could have, in the order of preference.
        looked_for: Vec<String>,
    },
    /// A file that is not what it must be.
    #[error("{path} cannot be used: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A value in a configuration file that this family does not know or that is out of range.
    #[error("the model's `{field}` is {found}, expected {expected}")]
    Config {
        /// The name in the configuration file.
        field: &'static str,
        /// The value there.
        found: String,
        /// The values that are known.
        expected: String,
    },
    /// Weights that do not fit the configuration.
    #[error("the weights do not fit the model's configuration: {}", problems.join("; "))]
    Tensors {
        /// Every tensor that is missing, unused, of another shape or type, or not finite.
        problems: Vec<String>,
    },
    /// A model that cannot be had from the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}
