//! Contracts of the SAIL workspace: the traits that connect encoders, alignment heads, losses and data, and the plain
//! values they exchange.
//!
//! Alignment of two frozen encoders has five replaceable parts, each behind a trait:
//!
//! | part | trait | implemented in |
//! |---|---|---|
//! | frozen backbone | [`ImageEncoder`], [`TextEncoder`] | `sail-encoders`, or your crate |
//! | input of a backbone | [`ImagePreprocessor`], [`Tokenizer`] | `sail-encoders`, or your crate |
//! | frozen features | [`FeatureSource`] | `sail-data`, or your crate |
//! | trained head | [`AlignmentHead`] | `sail-layers`, or your crate |
//! | objective | [`ContrastiveLoss`] | `sail-losses`, or your crate |
//!
//! A tower ([`VisionTower`], [`TextTower`]) combines a backbone, its input and a pooling. Training and evaluation depend
//! on these traits only, so every part can come from outside the workspace.
//!
//! This crate contains no model, no loss, no choice of backend or device, and no I/O.

mod auxiliary;
mod check;
mod dense;
mod dtype;
mod encode_error;
mod encoder;
mod features;
mod gather;
mod head;
mod input;
mod lora;
mod loss;
mod named;
mod normalize;
mod pooling;
mod provenance;
mod quantization;
mod statistics;
mod store_dtype;
mod tokens;
mod tower;

pub use auxiliary::{
    AuxiliaryBatch, AuxiliaryError, AuxiliaryGradients, AuxiliaryLoss, AuxiliaryRows, FeatureSizes,
};
pub use check::{Check, ConfigError, ensure};
pub use dense::{Attention, DenseOptions, Layer};
pub use dtype::Dtype;
pub use encode_error::EncodeError;
pub use encoder::{ImageEncoder, ImageFeatures, PatchTokens, TextEncoder, TextFeatures, TokenBatch};
pub use features::{FeatureError, FeatureSource};
pub use gather::{check_rows, gather_checked, gather_tensor};
pub use head::{AlignmentHead, HeadError, Side};
pub use image::RgbImage;
pub use input::{ImagePreprocessor, InputError, Padding, PaddingSide, Pixels, TokenIds, Tokenizer};
pub use lora::{
    AdaptedLayer, Adapter, AdapterConfig, AdapterWeights, LoraConfig, LoraLayer, LowRank, TokenBlocks,
};
pub use loss::{ContrastiveLoss, EmbeddingBatch, Groups, LossError, LossGradients};
pub use named::{Named, parse_named};
pub use normalize::l2_normalize;
pub use pooling::{ImagePooling, PoolingError, TextPooling};
pub use provenance::{Contradiction, Modality, Processor, Prompt, Provenance};
pub use quantization::Quantization;
pub use sail_support::{Progress, ProgressCounter};
pub use statistics::LossStatistics;
pub use store_dtype::StoreDtype;
pub use tokens::TokenLayout;
pub use tower::{TextTower, TowerError, VisionTower};
