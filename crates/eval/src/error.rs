//! Errors of evaluations.

use burn::tensor::TensorReadError;
use sail_core::{ConfigError, FeatureError, HeadError};

/// An error of an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// An empty input.
    #[error("no {what}s, expected at least one with at least one dimension")]
    Empty {
        /// What is missing: `image`, `text`, `query`, `gallery row`, ...
        what: &'static str,
    },
    /// Inputs of different dimensions.
    #[error(
        "{first}s have {first_dim} dimensions and {second}s {second_dim}: project both with the same head"
    )]
    Dimension {
        /// What the rows of the first input are.
        first: &'static str,
        /// Their dimension.
        first_dim: usize,
        /// What the rows of the second input are.
        second: &'static str,
        /// Their dimension.
        second_dim: usize,
    },
    /// An embedding with a NaN or an infinity.
    #[error("{what} {row} has the value {value} in column {column}: check the features and the head")]
    NotFinite {
        /// What the row is: `image`, `text`, ...
        what: &'static str,
        /// Index of the row.
        row: usize,
        /// Index of the first such column.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// An embedding of all zeros, which has no direction.
    #[error("{what} {row} is all zeros: check the features and the head")]
    ZeroNorm {
        /// What the row is: `image`, `text`, ...
        what: &'static str,
        /// Index of the row.
        row: usize,
    },
    /// A list whose length is not the number of rows.
    #[error("found {found} {what}, expected {expected}: one for each {of}")]
    Length {
        /// What the list contains.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The number of rows.
        expected: usize,
        /// What the rows are.
        of: &'static str,
    },
    /// An index out of range.
    #[error("{of} {row} has {what} index {found}, expected less than {expected}")]
    OutOfRange {
        /// What the index refers to: `image` or `class`.
        what: &'static str,
        /// The index.
        found: usize,
        /// The number of them.
        expected: usize,
        /// What has the index: `text`, `prompt` or `image`.
        of: &'static str,
        /// Its row.
        row: usize,
    },
    /// An image without a text.
    #[error("image {image} has no text: leave it out")]
    ImageWithoutText {
        /// The image.
        image: usize,
    },
    /// A class without a prompt.
    #[error("class {class} has no prompt: add one or leave the class out")]
    ClassWithoutPrompt {
        /// The class.
        class: usize,
    },
    /// Prompt embeddings of a class with a mean of zero.
    #[error("the prompt embeddings of class {class} cancel: their mean is zero")]
    PromptsCancel {
        /// The class.
        class: usize,
    },
    /// Too few values for a measure.
    #[error("found {found} {what}s, expected at least {expected}")]
    TooFew {
        /// What there are too few of.
        what: &'static str,
        /// Their number.
        found: usize,
        /// The minimum.
        expected: usize,
    },
    /// Rows that are all equal.
    #[error("all {what}s have the same direction: check the features")]
    Constant {
        /// What the rows are.
        what: &'static str,
    },
    /// A singular covariance.
    #[error("the covariance of the {what}s is singular: increase the regularization")]
    Singular {
        /// What the rows are.
        what: &'static str,
    },
    /// A value of a measure that is not finite.
    #[error("a measure is {value}, expected a finite number: check the features")]
    Undefined {
        /// NaN or an infinity.
        value: f64,
    },
    /// A fit whose loss is not finite.
    #[error("the fit of the {what} diverged: increase its penalty")]
    Diverged {
        /// What was fitted.
        what: &'static str,
    },
    /// An option out of range.
    #[error("invalid evaluation options")]
    Config(#[from] ConfigError),
    /// The head rejects the features.
    #[error("cannot project the features")]
    Head(#[from] HeadError),
    /// The features cannot be read or are invalid.
    #[error("invalid features")]
    Features(#[from] FeatureError),
    /// The device failed.
    #[error("cannot read a result from the device")]
    Device(#[from] TensorReadError),
}
