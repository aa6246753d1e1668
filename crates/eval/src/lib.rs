//! How good is an alignment? Retrieval and zero-shot classification, computed in blocks.
//!
//! | question | function | result |
//! |---|---|---|
//! | does an image find its captions, and a caption its image? | [`retrieval`] | [`Retrieval`] |
//! | does an image find the name of its class? | [`class_weights`], [`zero_shot`] | [`ZeroShot`] |
//! | what is where in an image? | [`LogitMap`], [`SlidingWindow`], [`Confusion`] | [`Segmentation`] |
//! | what does a query find? | [`top_k`] | [`Match`]es, for galleries of results |
//! | what does a head make of stored features? | [`project_images`], [`project_texts`] | embeddings |
//!
//! # Ranks, not sorts
//! A recall needs the *rank* of the right answer, and a rank is a count: one more than the number of wrong
//! answers that score at least as high. So nothing is sorted, and the matrix of all scores never exists: it is
//! multiplied out a block at a time ([`BlockSize`]), and every block updates the ranks of its rows and of its
//! columns before the next one takes its place. Memory beyond the inputs is a few blocks, whatever their size.
//!
//! # Ties count against
//! A head that maps everything to one point must score 0, not 100. Scores that differ by less than
//! [`TIE_TOLERANCE`] are a tie, and a tie with the right answer counts against it.
//!
//! For that to mean anything, the comparison has to be finer than the error of an f32 product, which for 1,024
//! dimensions may reach 6e-5. A block's product is therefore only a filter: whatever lies clear of the threshold
//! is counted from it, and the few pairs that lie within its error are computed again in f64. The ranks are
//! those of f64 arithmetic on unit rows, whichever device multiplied and in whatever order.
//!
//! # Deliberate absences
//! No model, no file, no choice of device. Embeddings come in as they are: every function here normalises, and
//! refuses rows that have no direction (NaN, infinity, all zeros) by name.

mod block;
mod error;
mod project;
mod ranks;
mod retrieval;
mod segmentation;
mod tiles;
mod top_k;
mod unit_rows;
mod zero_shot;

pub use block::BlockSize;
pub use error::EvalError;
pub use project::{project_images, project_texts};
pub use ranks::{RetrievalScores, TIE_TOLERANCE, rank};
pub use retrieval::{Retrieval, retrieval};
pub use segmentation::{
    Confusion, Decision, FrequencyBaseline, IGNORED, LabelMap, LogitMap, Segmentation, SegmentationError,
    SlidingWindow, Window, WindowSum,
};
pub use top_k::{Match, top_k};
pub use zero_shot::{ZeroShot, class_weights, zero_shot};
