//! Alignment layers and the SAIL head.
//!
//! A [`Head`] has two [sides](HeadSide), one per frozen backbone. A side is an optional LayerNorm and a [`Projector`];
//! two learned scalars, [`LogitScale`], turn the cosine of two projections into a logit.
//!
//! ```text
//! image features [B, d_image] ─ LayerNorm ─ projector ─ [B, dim] ┐
//!                                                                cos ── exp(log_scale) * cos + bias
//! text features  [B, d_text]  ─ LayerNorm ─ projector ─ [B, dim] ┘
//! ```
//!
//! A head is built from a [`HeadConfig`], which is validated first, and a seed. The same seed gives the same weights on
//! every machine and device, because they are drawn on the host from a specified generator. [`Head::save`] and
//! [`Head::load`] store a head and its configuration in one safetensors file with PyTorch's tensor layout, which Python
//! can read as well.
//!
//! [`Head::import`] and [`Head::export`] exchange heads with the authors' published code.
//!
//! A side may also take the token states of an image ([`SideConfig::of_tokens`]): a row of features is then all tokens one
//! after the other, and the projector, [`TokenProjector`] or [`TokenTransformer`], pools them.
//!
//! A layer is a module here and a variant of [`ProjectorConfig`] and [`Projector`]. A layer of another crate needs
//! neither: implement [`sail_core::AlignmentHead`] for its module.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapted;
mod adapter;
mod alignment;
mod cast;
mod config;
mod file;
mod gate;
mod gated_mlp;
mod head;
mod holdout;
mod init;
mod linear;
mod logit_scale;
mod mlp;
mod projector;
mod projector_config;
mod reference;
mod residual_mlp;
mod sharelock;
mod token_block;
mod token_projector;
mod token_transformer;
mod tokens;
mod weighted_cosine;

pub use config::{HeadConfig, SideConfig, Translation};
pub use gated_mlp::{GateActivation, GatedMlp};
pub use head::{Head, HeadSide};
pub use holdout::Holdout;
pub use init::WeightInit;
pub use linear::linear;
pub use logit_scale::LogitScale;
pub use mlp::Mlp;
pub use projector::Projector;
pub use projector_config::ProjectorConfig;
pub use reference::ExportFormat;
pub use residual_mlp::ResidualMlp;
pub use sharelock::ShareLock;
pub use token_projector::TokenProjector;
pub use token_transformer::TokenTransformer;
pub use weighted_cosine::WeightedCosine;
