//! Contrastive losses between matching image and text embeddings.
//!
//! | loss | what it compares | paper |
//! |---|---|---|
//! | [`SigmoidLoss`] | every pair on its own, against a learned bias | Zhai et al. 2023; Zhang et al. 2024 |
//! | [`InfoNceLoss`] | every pair with the other pairs of its row and column | Radford et al. 2021 |
//! | [`BarlowTwinsLoss`] | every embedding dimension with every other | Zbontar et al. 2021 |
//!
//! All implement [`ContrastiveLoss`](sail_core::ContrastiveLoss), as can a loss of another crate; [`LossConfig`] selects
//! one of them in a configuration file.
//!
//! Three losses are added to one of these, with a weight ([`AuxiliaryLoss`](sail_core::AuxiliaryLoss)):
//!
//! | loss | what it keeps | paper |
//! |---|---|---|
//! | [`Structure`] | the neighborhoods that the features of the batch have | Gröger et al. 2025 |
//! | [`Gram`] | how similar the patches of an image are to each other, under a head on token states | Jose et al. 2025 |
//! | [`Klot`] | which images and texts match for a teacher, among images and texts that are not paired | Roschmann et al. 2026 |
//!
//! # Design
//! - *Losses hold no parameters.* Logit scale and bias arrive with the batch, because they belong to the head, which
//!   saves, clamps and optimises them.
//! - *Extra positives are a property of the batch, not of the loss.* A batch has one or more caption sets, and each loss
//!   documents its reduction over them; a batch with [`Groups`](sail_core::Groups) has several positives in a row. There is no
//!   separate multi-positive loss.
//! - *Closed-form gradients, in tiles.* The sigmoid loss and InfoNCE override
//!   [`gradients`](sail_core::ContrastiveLoss::gradients), which training calls: value and gradients tile by tile,
//!   without a graph and without a `[batch, batch]` matrix, so memory grows with `batch * dim`. Their differentiable
//!   [`forward`](sail_core::ContrastiveLoss::forward), over the whole matrix, is the oracle of the tests. Barlow Twins
//!   is differentiated automatically; its matrix is `[dim, dim]`.
//! - *Every device.* A tile is processed by tensor operations or, with the feature `flex` and for f32 in host memory, by
//!   a fused, vectorised, parallel pass. The two implementations are independent of each other, and the tests compare
//!   them.
//! - *Stable in single precision.* No exponential overflows into a result, and the sigmoid loss keeps its relative
//!   precision where it is many orders of magnitude smaller than the logits.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod artanh;
mod barlow_twins;
mod config;
mod diagonal;
mod gram;
#[cfg(feature = "flex")]
mod host;
mod info_nce;
mod klot;
mod logistic;
mod positives;
mod sigmoid;
mod softmax;
mod statistics;
mod structure;
#[cfg(all(test, feature = "flex"))]
mod testing;
mod tiles;
mod transport;
#[cfg(feature = "flex")]
mod vector_math;

pub use barlow_twins::BarlowTwinsLoss;
pub use config::LossConfig;
pub use gram::Gram;
pub use info_nce::{Direction, InfoNceLoss};
pub use klot::{Klot, KlotLoss};
pub use sigmoid::{Blocks, Normalization, SigmoidLoss};
pub use structure::Structure;
pub use transport::{Sinkhorn, TransportPlan};
