//! What can go wrong between images, texts and embeddings.

use std::path::PathBuf;

use burn::tensor::TensorReadError;
use sail_core::{ConfigError, HeadError, Side, TowerError};
use sail_encoders::ModelError;
use sail_eval::{EvalError, SegmentationError};

/// A model that cannot be put together, or cannot embed its input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SailError {
    /// A backbone cannot be found, fetched or built.
    #[error("cannot load the {side} backbone")]
    Model {
        /// Which side.
        side: Side,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// A backbone is neither given nor recorded by the head.
    #[error("the head does not record its {side} backbone: name the model")]
    Unrecorded {
        /// Which side.
        side: Side,
    },
    /// A backbone that the head records cannot be found, fetched or built.
    #[error(
        "cannot load the {side} backbone `{model}` recorded by the head: name the model if it is elsewhere"
    )]
    Recorded {
        /// Which side.
        side: Side,
        /// The name in the head.
        model: String,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// The head was trained with a pooling that is not known here.
    #[error("cannot pool the {side} side as the head was trained: {reason}")]
    Pooling {
        /// Which side.
        side: Side,
        /// The pooling that the head records, and those that are known.
        reason: String,
    },
    /// Nothing to embed.
    #[error("there are no {what}s, expected at least one")]
    Empty {
        /// What there is none of: `image`, `text`, `label` or `template`.
        what: &'static str,
    },
    /// A template that makes the same prompt of every label.
    #[error("template `{template}` has no `{{}}`: write it where the label goes, as in `a photo of a {{}}.`")]
    Template {
        /// The template.
        template: String,
    },
    /// A backbone cannot embed an input.
    #[error("cannot embed the {side}s")]
    Tower {
        /// Which side.
        side: Side,
        /// Why; its row counts from 0 in the input.
        #[source]
        source: TowerError,
    },
    /// The head was trained on another backbone, or cannot take the features.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// An embedding that is not finite or all zeros.
    #[error(
        "the embedding of {side} {row} has length {norm} and so no direction: check the input and the weights"
    )]
    Direction {
        /// Which side.
        side: Side,
        /// The row of the input, from 0; of dense features the patch, counted through the batch.
        row: usize,
        /// 0, an infinity or NaN.
        norm: f32,
    },
    /// Features of patches that cannot be kept, or that were kept and cannot be used.
    #[error("cannot use the features of patches in {path}: remove it to encode them again")]
    PatchCache {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// A setting out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Embeddings that cannot be compared.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Maps of logits or labels that cannot be made.
    #[error(transparent)]
    Segmentation(#[from] SegmentationError),
    /// The device failed.
    #[error("cannot read a result from the device")]
    Device(#[from] TensorReadError),
}
