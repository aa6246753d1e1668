//! Internal helpers shared by the crates of the SAIL workspace.
//!
//! Published only because those crates depend on it. The API may change in any release.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod atomic;
#[cfg(feature = "cpu")]
pub mod cpu;
mod dot;
mod hex;
pub mod json;
mod key_table;
mod length_batches;
mod panics;
mod path;
mod portable_path;
mod progress;
mod ranges;
mod read;
mod stand_in;
mod top_scores;
#[cfg(feature = "torch")]
pub mod torch;
mod work_folder;

pub use atomic::{TEMPORARY_PREFIX, parent_folder, write_atomic};
pub use dot::dot;
pub use hex::hex;
pub use key_table::{KeyHash, KeyHasher, KeyTable};
pub use length_batches::length_batches;
pub use panics::catch_panic;
pub use path::{is_vacant, resolve};
pub use portable_path::is_portable_path;
pub use progress::{Progress, ProgressCounter};
pub use ranges::{chunk_rows, ranges};
pub use read::{ReadError, open_file, read_bounded, strip_bom};
pub use stand_in::{StandIn, stand_in};
pub use top_scores::TopScores;
pub use work_folder::{NewFolder, open_locked, remove_temporary_files};
