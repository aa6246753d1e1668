//! Blocks of records, and their rows.

use crate::skipped::Skipped;

/// The rows of a block.
pub(crate) type Rows = Vec<Vec<f32>>;

/// A block of records whose usable ones are embedded.
pub(crate) struct Block {
    /// The position after it.
    pub(crate) next: u64,
    /// The keys of the usable records.
    pub(crate) keys: Vec<String>,
    pub(crate) skipped: Vec<Skipped>,
}
