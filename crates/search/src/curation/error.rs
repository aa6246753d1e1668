//! Errors of curation.

use sail_core::{ConfigError, FeatureError};
use sail_eval::EvalError;

/// An error of curation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CurationError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Features that cannot be read or have no direction.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// Embeddings that cannot be compared.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The concepts' names are not one for each row.
    #[error("found {found} concepts, expected {expected}: one for each row of the concepts' features")]
    Concepts {
        /// Number of concepts.
        found: usize,
        /// Number of rows.
        expected: usize,
    },
}
