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
//! - *Closed form, in tiles.* The sigmoid loss and InfoNCE override
//!   [`gradients`](sail_core::ContrastiveLoss::gradients), which is what training calls: value and derivatives tile by
//!   tile, without a graph and without ever holding a `[batch, batch]` matrix. Memory grows with `batch * dim`; a test
//!   watches the peak. Their differentiated [`forward`](sail_core::ContrastiveLoss::forward), the plain expression over
//!   the whole matrix, is the oracle in the tests. Barlow Twins is differentiated automatically; its matrix is
//!   `[dim, dim]`.
//! - *Any device, and the CPU at full speed.* All is written with tensor operations. With the feature `flex`,
//!   what happens to each number of a tile in the CPU's memory is one fused, vectorised, parallel pass instead.
//! - *Stable in single precision.* No exponential overflows into a result, and the sigmoid loss stays exact
//!   where it is far smaller than its logits. (CubeCL devices compute `log1p(x)` as `log(1 + x)`: there a pair's share
//!   of the value is exact to 1e-7 only. Gradients do not pass through it.)

mod barlow_twins;
mod config;
mod diagonal;
#[cfg(feature = "flex")]
mod host;
mod info_nce;
mod logistic;
mod sigmoid;
mod softmax;
mod statistics;
mod tiles;

pub use barlow_twins::BarlowTwinsLoss;
pub use config::LossConfig;
pub use info_nce::{Direction, InfoNceLoss};
pub use sigmoid::{Blocks, Normalization, SigmoidLoss};
