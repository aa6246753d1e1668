//! Configuration of a new store.

use sail_core::{Check, ConfigError, Modality, Provenance, StoreDtype, ensure};

use super::manifest::MAX_DIM;

/// The configuration of a new store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreConfig {
    /// Whether rows are images or texts.
    pub modality: Modality,
    /// The backbone and settings that the rows come from.
    pub provenance: Provenance,
    /// Embedding dimension, 1 to 16,777,216; with token states, that of their layout.
    pub dim: usize,
    /// Dtype of the stored values.
    pub dtype: StoreDtype,
    /// Rows per shard, at least 1. The writer keeps as many in memory, encoded.
    pub rows_per_shard: usize,
}

impl StoreConfig {
    /// Creates a configuration with dtype `f16` and 65,536 rows per shard.
    pub fn new(modality: Modality, provenance: Provenance, dim: usize) -> Self {
        Self { modality, provenance, dim, dtype: StoreDtype::F16, rows_per_shard: 1 << 16 }
    }
}

impl Check for StoreConfig {
    fn check(&self) -> Result<(), ConfigError> {
        ensure((1..=MAX_DIM).contains(&self.dim), "dim", self.dim, format!("1 to {MAX_DIM}"))?;
        if let Some(tokens) = self.provenance.tokens {
            tokens.check()?;
            ensure(
                tokens.row_values() == self.dim,
                "dim",
                self.dim,
                format!("{} for {tokens}", tokens.row_values()),
            )?;
        }
        check_rows_per_shard(self.rows_per_shard)
    }
}

pub(crate) fn check_rows_per_shard(rows: usize) -> Result<(), ConfigError> {
    ensure(rows > 0, "rows_per_shard", rows, "at least 1")
}
