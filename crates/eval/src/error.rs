//! What can be wrong with embeddings and labels.

use burn::tensor::TensorReadError;
use sail_core::{ConfigError, FeatureError, HeadError};

/// An evaluation that cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// Nothing to evaluate.
    #[error("there are no {what}s, expected at least one of at least one dimension")]
    Empty {
        /// What there is none of: `image`, `text`, `query`, `gallery row`, ...
        what: &'static str,
    },
    /// Two sides that cannot be compared.
    #[error("{first}s have {first_dim} dimensions and {second}s {second_dim}: project both with one head")]
    Dimension {
        /// What the rows of the first side are.
        first: &'static str,
        /// Their size.
        first_dim: usize,
        /// What the rows of the second side are.
        second: &'static str,
        /// Their size.
        second_dim: usize,
    },
    /// An embedding with a NaN or an infinity.
    #[error("{what} {row} has the value {value} in column {column}: check the features and the head")]
    NotFinite {
        /// What the row is: `image`, `text`, ...
        what: &'static str,
        /// The row.
        row: usize,
        /// The first such column.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// An embedding of zeros, which has no direction.
    #[error("{what} {row} is all zeros and has no direction: check the features and the head")]
    ZeroNorm {
        /// What the row is: `image`, `text`, ...
        what: &'static str,
        /// The row.
        row: usize,
    },
    /// A list that should say one thing for every row has another length.
    #[error("there are {found} {what}, expected {expected}: one for each {of}")]
    Length {
        /// What the list holds.
        what: &'static str,
        /// Its length.
        found: usize,
        /// How many rows there are.
        expected: usize,
        /// What the rows are.
        of: &'static str,
    },
    /// An index beyond the end.
    #[error("{of} {row} belongs to {what} {found}, expected less than {expected}")]
    OutOfRange {
        /// What the index is of: `image` or `class`.
        what: &'static str,
        /// The index.
        found: usize,
        /// How many there are.
        expected: usize,
        /// What carries the index: `text`, `prompt` or `image`.
        of: &'static str,
        /// Which one carries it.
        row: usize,
    },
    /// An image that cannot be found because no text describes it.
    #[error("image {image} has no text: leave it out")]
    ImageWithoutText {
        /// The image.
        image: usize,
    },
    /// A class that cannot be found because no prompt names it.
    #[error("class {class} has no prompt: give it one or leave it out")]
    ClassWithoutPrompt {
        /// The class.
        class: usize,
    },
    /// The prompts of a class point in opposite directions, so that their mean has none.
    #[error("the prompt embeddings of class {class} cancel out: their mean is zero")]
    PromptsCancel {
        /// The class.
        class: usize,
    },
    /// Too little to compute a measure from.
    #[error("there are {found} {what}s, expected at least {expected}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many it takes.
        expected: usize,
    },
    /// Rows that are all the same, so that nothing varies with them.
    #[error("the {what}s all have the same direction: check the features")]
    Constant {
        /// What the rows are.
        what: &'static str,
    },
    /// A covariance that cannot be inverted.
    #[error("the covariance of the {what}s cannot be inverted: raise the regularization")]
    Singular {
        /// What the rows are.
        what: &'static str,
    },
    /// A fit whose loss is not finite.
    #[error("the fit of the {what} diverged: raise its penalty")]
    Diverged {
        /// What was fitted.
        what: &'static str,
    },
    /// An option out of its range.
    #[error("invalid evaluation options")]
    Config(#[from] ConfigError),
    /// The head cannot take the features.
    #[error("cannot project the features")]
    Head(#[from] HeadError),
    /// The features cannot be read or used.
    #[error("cannot use the features")]
    Features(#[from] FeatureError),
    /// The device failed.
    #[error("cannot read a result from the device")]
    Device(#[from] TensorReadError),
}
