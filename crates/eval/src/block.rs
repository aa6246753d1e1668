//! Block sizes of score matrices.

use sail_core::{Check, ConfigError, ensure};

/// The size of the blocks in which a matrix of scores is computed. It affects memory and speed, not results.
///
/// The default, 512 by 2,048, is 4 MiB of scores: large enough for matrix products at full speed, small enough for a
/// cache and for an allocator that returns larger allocations to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize {
    /// Rows of a block (images or queries), at least 1.
    pub rows: usize,
    /// Columns of a block (texts or the gallery), at least 1.
    pub columns: usize,
}

impl BlockSize {
    /// Block size for searches, which do little work per score: 2,048 by 512. With more queries per block, the gallery is
    /// packed for the matrix product less often.
    pub const SEARCH: Self = Self { rows: 2048, columns: 512 };
}

impl Default for BlockSize {
    fn default() -> Self {
        Self { rows: 512, columns: 2048 }
    }
}

impl Check for BlockSize {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.rows > 0, "rows", self.rows, "at least 1")?;
        ensure(self.columns > 0, "columns", self.columns, "at least 1")
    }
}
