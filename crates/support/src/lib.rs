//! Internal helpers of the SAIL workspace.
//!
//! What several of its crates need and none of them is about. Nothing here is a promise: the crate is published because
//! the others depend on it, and changes with them.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod atomic;
#[cfg(feature = "cpu")]
pub mod cpu;
mod length_batches;
mod ranges;

pub use atomic::{parent_folder, write_atomic};
pub use length_batches::length_batches;
pub use ranges::ranges;
