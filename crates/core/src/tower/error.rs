//! Errors of towers.

use crate::{EncodeError, InputError, PoolingError, TokenLayout};

/// An error of a tower that cannot embed its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TowerError {
    /// An input cannot be preprocessed.
    #[error("cannot preprocess input {row}")]
    Input {
        /// Index of the input in the batch.
        row: usize,
        /// The cause.
        #[source]
        source: InputError,
    },
    /// The images of a batch have different sizes.
    #[error(
        "input {row} has {found:?} pixels after preprocessing, expected {expected:?} like the first: embed it separately"
    )]
    Sizes {
        /// Index of the input in the batch.
        row: usize,
        /// Its height and width.
        found: [usize; 2],
        /// Height and width of the first input.
        expected: [usize; 2],
    },
    /// The backbone rejects the input.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The token states of an image do not have the layout of the features.
    #[error("an image has {found}, expected {expected}: {remedy}")]
    Tokens {
        /// The layout of the image.
        found: Box<TokenLayout>,
        /// The layout of the features, or how it comes to be known.
        expected: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The backbone does not have the output that the pooling needs.
    #[error(transparent)]
    Pooling(#[from] PoolingError),
}
