//! Errors of encoders.

use crate::{DenseOptions, Layer};

/// An error of an encoder that rejects its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The input has an unsupported shape.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// Name of the input.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The supported shapes.
        expected: String,
    },
    /// A token id is out of range: the tokenizer belongs to another model.
    #[error(
        "token id {token} is out of range for a vocabulary of {vocabulary}: use the tokenizer of the model"
    )]
    Token {
        /// The id.
        token: i64,
        /// The vocabulary size of the model.
        vocabulary: usize,
    },
    /// A text has no token that marks its end, from which its embedding is taken.
    #[error("a text has no end token {token}: use the tokenizer of the model")]
    NoEnd {
        /// The id of the end token.
        token: i64,
    },
    /// The text model has no states of this layer.
    #[error("unsupported layer {requested}, expected {expected}")]
    Layer {
        /// The requested layer.
        requested: Layer,
        /// The supported ones.
        expected: String,
    },
    /// Weights that are read while encoding cannot be read any more.
    #[error("the weights of the model cannot be read: {reason}")]
    Weights {
        /// The cause.
        reason: String,
    },
    /// The architecture does not support the requested dense features.
    #[error("unsupported dense features: {requested}, expected {expected}")]
    Dense {
        /// The requested features.
        requested: DenseOptions,
        /// The supported ones.
        expected: String,
    },
}
