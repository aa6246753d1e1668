//! Contrastive losses that pull matching image and text embeddings together and push the others apart.
//!
//! | loss | what it compares | paper |
//! |---|---|---|
//! | [`SigmoidLoss`] | every pair on its own, against a learned bias | Zhai et al. 2023; Zhang et al. 2024 |
//! | [`InfoNceLoss`] | a pair with all others of its row and column | Radford et al. 2021 |
//! | [`BarlowTwinsLoss`] | every embedding dimension with every other | Zbontar et al. 2021 |
//!
//! All implement [`ContrastiveLoss`](sail_core::ContrastiveLoss), so any of them, or one of your own, can be
//! handed to training; [`LossConfig`] is the choice as it stands in a configuration file.
//!
//! # Design
//! - *Losses hold no parameters.* The logit scale and bias arrive with the batch, because they belong to the
//!   head: they are saved, clamped and optimised with it.
//! - *Extra positives are a property of the batch, not of the loss.* A batch has one caption set or several,
//!   and each loss says how it combines them; there is no separate multi-positive loss.
//! - *Closed form where it pays.* The sigmoid loss overrides
//!   [`gradients`](sail_core::ContrastiveLoss::gradients), since its value and gradient share the exponential
//!   and need no graph over a `[batch, batch]` matrix; tests hold it to the differentiated
//!   [`forward`](sail_core::ContrastiveLoss::forward). The others are differentiated automatically.
//! - *Stable in single precision.* No exponential overflows into a result, and the sigmoid loss stays exact
//!   where it is far smaller than its logits.
//!
//! - *Memory bounded where it counts.* The sigmoid loss's gradients go over the pairs in tiles, so that they never
//!   hold a `[batch, batch]` matrix; a test watches the peak.
//!
//! What is not here: InfoNCE holds its whole `[batch, batch]` matrix (Barlow Twins: `[dim, dim]`) in memory at once,
//! a block for each caption set in turn, and so does the sigmoid loss's plain `forward`; nothing works across devices.

mod barlow_twins;
mod config;
mod diagonal;
mod info_nce;
mod sigmoid;

pub use barlow_twins::BarlowTwinsLoss;
pub use config::LossConfig;
pub use info_nce::{Direction, InfoNceLoss};
pub use sigmoid::{Blocks, Normalization, SigmoidLoss};
