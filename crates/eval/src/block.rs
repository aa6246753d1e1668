//! How much is computed at once.

use sail_core::{Check, ConfigError, ensure};

/// The size of the blocks in which a matrix of scores is computed. It changes memory and speed, not results.
///
/// The default, 1,024 by 4,096, makes 16 MiB of scores at a time: large enough for a matrix product at full
/// speed, small enough for a cache or for a device's spare memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize {
    /// Rows of a block: images, or queries. At least 1.
    pub rows: usize,
    /// Columns of a block: texts, or the gallery. At least 1.
    pub columns: usize,
}

impl Default for BlockSize {
    fn default() -> Self {
        Self { rows: 1024, columns: 4096 }
    }
}

impl Check for BlockSize {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.rows > 0, "rows", self.rows, "at least 1")?;
        ensure(self.columns > 0, "columns", self.columns, "at least 1")
    }
}
