//! Internal helpers of the SAIL workspace.
//!
//! What several of its crates need and none of them is about. Nothing here is a promise: the crate is published because
//! the others depend on it, and changes with them.

mod atomic;
#[cfg(feature = "cpu")]
pub mod cpu;
mod key_table;
mod length_batches;
mod ranges;
mod read;
mod work_folder;

pub use atomic::{TEMPORARY_PREFIX, parent_folder, write_atomic};
pub use key_table::{KeyHash, KeyHasher, KeyTable};
pub use length_batches::length_batches;
pub use ranges::ranges;
pub use read::{ReadError, open_file, read_bounded};
pub use work_folder::{NewFolder, open_locked, remove_temporary_files};
