//! How much is computed at once.

use sail_core::{Check, ConfigError, ensure};

/// The size of the blocks in which a matrix of scores is computed. It changes memory and speed, not results.
///
/// The default, 512 by 2,048, makes 4 MiB of scores at a time: large enough for a matrix product at full speed, small
/// enough for a cache, for a device's spare memory, and for an allocator that returns larger pieces to the system, from
/// where they would come back page by page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize {
    /// Rows of a block: images, or queries. At least 1.
    pub rows: usize,
    /// Columns of a block: texts, or the gallery. At least 1.
    pub columns: usize,
}

impl BlockSize {
    /// What suits a search, where little is done with a score: 2,048 by 512, as much memory as the default. The more
    /// queries a block has, the less often the gallery is put in order for the product.
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
