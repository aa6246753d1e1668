//! Contracts of the SAIL workspace: the traits that join encoders, alignment heads, losses and data,
//! and the plain values that travel between them.
//!
//! Aligning two frozen encoders has five replaceable parts, one trait each:
//!
//! | part | trait | implemented in |
//! |---|---|---|
//! | a frozen backbone | [`ImageEncoder`], [`TextEncoder`] | `sail-encoders`, or your crate |
//! | its input | [`ImagePreprocessor`], [`Tokenizer`] | `sail-encoders`, or your crate |
//! | rows of frozen features | [`FeatureSource`] | `sail-data`, or your crate |
//! | the trained head | [`AlignmentHead`] | `sail-layers`, or your crate |
//! | the objective | [`ContrastiveLoss`] | `sail-losses`, or your crate |
//!
//! A backbone with its input and a pooling is a tower ([`VisionTower`], [`TextTower`]): raw input in, rows out.
//! Training and evaluation know these traits only, so any part can come from outside the workspace.
//!
//! Deliberate absences: no model, no loss, no choice of backend or device, no I/O.

mod check;
mod dense;
mod dtype;
mod encoder;
mod features;
mod head;
mod input;
mod loss;
mod named;
mod normalize;
mod pooling;
mod progress;
mod provenance;
mod tower;

pub use check::{Check, ConfigError, ensure};
pub use dense::{Attention, DenseOptions, Layer};
pub use dtype::Dtype;
pub use encoder::{
    EncodeError, ImageEncoder, ImageFeatures, PatchTokens, TextEncoder, TextFeatures, TokenBatch,
};
pub use features::{FeatureError, FeatureSource, check_rows, gather_checked, gather_tensor};
pub use head::{AlignmentHead, HeadError, Side};
pub use image::RgbImage;
pub use input::{ImagePreprocessor, InputError, Padding, PaddingSide, Pixels, TokenIds, Tokenizer};
pub use loss::{ContrastiveLoss, EmbeddingBatch, LossError, LossGradients};
pub use named::{Named, parse_named};
pub use normalize::l2_normalize;
pub use pooling::{ImagePooling, PoolingError, TextPooling};
pub use progress::{Progress, ProgressCounter};
pub use provenance::{Modality, Provenance};
pub use tower::{TextTower, TowerError, VisionTower};
