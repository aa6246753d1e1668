//! The error type of models.

use std::path::PathBuf;

use burn::tensor::TensorReadError;
use sail_core::{ConfigError, HeadError, Side, TowerError};
use sail_encoders::ModelError;
use sail_eval::{EvalError, SegmentationError};
use sail_hub::HubError;

/// An error from loading or running a [`SailModel`](super::SailModel) or a type built from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SailError {
    /// A backbone cannot be found, downloaded or built.
    #[error("cannot load the {side} backbone")]
    Model {
        /// The side.
        side: Side,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// A backbone was neither specified nor recorded by the head.
    #[error("the head does not record its {side} backbone: name the model")]
    Unrecorded {
        /// The side.
        side: Side,
    },
    /// A backbone recorded by the head cannot be found, downloaded or built.
    #[error(
        "cannot load the {side} backbone `{model}` recorded by the head: name the model if it is elsewhere"
    )]
    Recorded {
        /// The side.
        side: Side,
        /// The recorded name.
        model: String,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// There is no published pair of this name.
    #[error("there is no pair `{name}`, expected one of {known}")]
    UnknownPair {
        /// The name.
        name: String,
        /// The names of all pairs.
        known: String,
    },
    /// The head of a pair cannot be fetched.
    #[error("cannot fetch the head of `{pair}`")]
    PairHead {
        /// The name of the pair.
        pair: String,
        /// Why.
        #[source]
        source: HubError,
    },
    /// The head records an unknown pooling.
    #[error("unsupported {side} pooling recorded by the head: {reason}")]
    Pooling {
        /// The side.
        side: Side,
        /// The recorded pooling and the supported ones.
        reason: String,
    },
    /// The input is empty.
    #[error("there are no {what}s, expected at least one")]
    Empty {
        /// The missing input: `image`, `text`, `label` or `template`.
        what: &'static str,
    },
    /// A template has no placeholder for the label.
    #[error("template `{template}` has no `{{}}`: write it where the label goes, as in `a photo of a {{}}.`")]
    Template {
        /// The template.
        template: String,
    },
    /// A backbone cannot embed an input.
    #[error("cannot embed the {side}s")]
    Tower {
        /// The side.
        side: Side,
        /// Why; its row is an index into the input.
        #[source]
        source: TowerError,
    },
    /// The head was trained on another backbone, or does not accept the features.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// An embedding is all zeros or not finite, so it cannot be normalized.
    #[error(
        "the embedding of {side} {row} has norm {norm}, expected a finite norm above 0: check the input and the weights"
    )]
    Direction {
        /// The side.
        side: Side,
        /// Index of the input, or of the patch in its batch for dense features.
        row: usize,
        /// The norm: 0, infinite or NaN.
        norm: f32,
    },
    /// The cache of patch features cannot be read or written.
    #[error("cannot use the cached patch features in {path}: remove it to encode them again")]
    PatchCache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The embeddings cannot be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// An image cannot be segmented.
    #[error(transparent)]
    Segmentation(#[from] SegmentationError),
    /// A result cannot be read from the device.
    #[error("cannot read a result from the device")]
    Device(#[from] TensorReadError),
}
