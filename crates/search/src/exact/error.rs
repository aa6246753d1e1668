//! Errors of codes.

use std::path::PathBuf;

use sail_core::{ConfigError, FeatureError};

/// An error of codes that cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodesError {
    /// The centre does not fit the rows.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rows cannot be read, or one has no direction.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The file cannot be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file does not hold codes that this version reads.
    #[error("{} is not a file of codes: {what} is {found}, expected {expected}; index the images again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part.
        what: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}
