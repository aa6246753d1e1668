//! Alignment layers and the SAIL head.
//!
//! A [`Head`] has two [sides](HeadSide), one for each frozen backbone. A side is an optional LayerNorm and a
//! [`Projector`]; two learned scalars, [`LogitScale`], turn the cosine of two projections into a logit.
//!
//! ```text
//! image features [B, d_image] ─ LayerNorm ─ projector ─ [B, dim] ┐
//!                                                                cos ── exp(log_scale) * cos + bias
//! text features  [B, d_text]  ─ LayerNorm ─ projector ─ [B, dim] ┘
//! ```
//!
//! Everything is built from a [`HeadConfig`], which is checked first, and a seed: the same seed gives the same
//! weights on every machine and device, because they are drawn on the host from a specified generator.
//! [`Head::save`] and [`Head::load`] keep a head and its configuration in one safetensors file with PyTorch's
//! tensor layout, so that it can be used from Python too.
//!
//! A layer is one file here and one variant of [`ProjectorConfig`] and [`Projector`]. A layer from outside the
//! workspace needs neither: implement [`sail_core::AlignmentHead`] for a module of your own.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod file;
mod glu;
mod head;
mod init;
mod linear;
mod logit_scale;
mod mlp;
mod projector;
mod sharelock;
mod swiglu;

pub use config::{HeadConfig, SideConfig};
pub use glu::Glu;
pub use head::{Head, HeadSide};
pub use init::WeightInit;
pub use linear::linear;
pub use logit_scale::LogitScale;
pub use mlp::Mlp;
pub use projector::{Projector, ProjectorConfig};
pub use sharelock::ShareLock;
pub use swiglu::SwiGlu;
