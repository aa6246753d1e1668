//! Decides which rows of a data set to keep: without near-duplicates, with captions that match their images, and with an
//! eye on what is missing.
//!
//! | question | function | result |
//! |---|---|---|
//! | which rows are near-duplicates of others? | [`near_duplicates`] | [`NearDuplicates`] |
//! | which pairs are near-duplicates of others, in image, caption or both? | [`near_duplicate_pairs`] | [`NearDuplicates`] |
//! | how well do images and captions match? | [`pair_scores`] | [`PairScores`] |
//! | which pairs match best? | [`Selection`] | their indices |
//! | which concepts do the images show, and which not? | [`nearest_concepts`] | a concept for each image |
//!
//! Rows are read in blocks, so memory does not grow with their dimension times their number: at most 24 bytes for each row, and
//! some hundred megabytes for the blocks.

mod coverage;
mod duplicate_pairs;
mod error;
mod near_duplicates;
mod nearest;
mod pair_scores;
mod selection;
mod visit;

pub use coverage::{Concept, nearest_concepts};
pub use duplicate_pairs::{PairDuplicateConfig, PairMatch, near_duplicate_pairs};
pub use error::CurationError;
pub use near_duplicates::{Cluster, Duplicate, DuplicateConfig, NearDuplicates, near_duplicates};
pub use pair_scores::{PairScores, pair_scores};
pub use selection::{Selection, quantile};
