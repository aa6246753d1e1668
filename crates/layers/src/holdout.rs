//! The pairs that a training held out.

use serde::{Deserialize, Serialize};

/// The pairs that the training of a head held out, as its file records them: the scores on all other pairs of its data are
/// those on training pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holdout {
    /// Number of held-out pairs; 0 if the head was trained on all.
    pub rows: usize,
    /// Seed of the split.
    pub seed: u64,
    /// Identifies the keys of the held-out pairs (`Split::holdout_sha256` of the crate `sail-data`).
    pub keys_sha256: String,
}
