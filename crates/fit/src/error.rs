//! Errors of fits.

use sail_core::{ConfigError, FeatureError, HeadError, Side};
use sail_data::DataError;

/// An error of a fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// A setting is out of range.
    #[error("invalid settings of the fit")]
    Config(#[from] ConfigError),
    /// A single pair: the centred rows are zero.
    #[error("found {found} pairs, expected at least 2")]
    TooFew {
        /// Number of pairs.
        found: usize,
    },
    /// All rows of a side are equal.
    #[error("all {side} features are equal after LayerNorm: check the features")]
    Constant {
        /// The side.
        side: Side,
    },
    /// The rows of both sides are uncorrelated.
    #[error("image and text features are uncorrelated: check how they pair")]
    Uncorrelated,
    /// A matrix decomposition did not converge.
    #[error("the {decomposition} did not converge: check the features")]
    Decomposition {
        /// The decomposition.
        decomposition: &'static str,
    },
    /// The head has a translation already.
    #[error(
        "the image side of the head is translated from another encoder already: start from the original head"
    )]
    TranslatedTwice,
    /// The features cannot be read or are invalid.
    #[error("invalid features")]
    Features(#[from] FeatureError),
    /// The pairs cannot be split.
    #[error("cannot split the pairs")]
    Data(#[from] DataError),
    /// The weights do not make a head, or the head does not fit the features.
    #[error("cannot make the head")]
    Head(#[from] HeadError),
}
