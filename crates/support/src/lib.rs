//! Internal helpers shared by the crates of the SAIL workspace.
//!
//! Published only because those crates depend on it. The API may change in any release.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod atomic;
#[cfg(feature = "cpu")]
pub mod cpu;
mod hex;
mod length_batches;
mod ranges;

pub use atomic::{parent_folder, write_atomic};
pub use hex::hex;
pub use length_batches::length_batches;
pub use ranges::ranges;
