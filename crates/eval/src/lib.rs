//! How good is an alignment, and how good can it get? Measures of embeddings and of pairs of encoders, in blocks.
//!
//! | question | function | result |
//! |---|---|---|
//! | does an image find its captions, and a caption its image? | [`retrieval`] | [`Retrieval`] |
//! | does an image find the name of its class? | [`class_weights`], [`zero_shot`] | [`ZeroShot`] |
//! | which of two is right? | [`winoground`], [`statements_pick_images`], [`prefers_true_caption`], [`group_accuracy`] | [`Winoground`], [`GroupAccuracy`] |
//! | what is where in an image? | [`LogitMap`], [`SlidingWindow`], [`Confusion`] | [`Segmentation`] |
//! | what does a query find? | [`top_k`] | [`Match`]es, for galleries of results |
//! | what does a head make of stored features? | [`project_images`], [`project_texts`] | embeddings |
//! | do two encoders see the same neighbours, the same similarities? | [`mutual_knn`], [`cka`], [`cca`] | [`Measured`], with what chance gives |
//! | do features cluster by class? | [`knn_classify`], [`silhouette`], [`k_means`] with [`normalized_mutual_information`] | predictions, a number |
//! | are classes linearly separable? | [`LinearProbe`] | predictions |
//! | how far does alignment get without training? | [`ridge_aligner`], [`cca_aligner`], [`Asif`] | embeddings for [`retrieval`] |
//! | does one number predict another, and how sure is it? | [`pearson`], [`spearman`], [`Bootstrap`] | a number, an [`Interval`] |
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

mod assess;
mod block;
mod cosines;
mod error;
mod pair_choice;
mod project;
mod ranks;
mod retrieval;
mod segmentation;
mod statistics;
mod tiles;
mod top_k;
mod unit_rows;
mod winoground;
mod zero_shot;

pub use assess::{
    Asif, Cka, KMeansOptions, KnnOptions, LinearAligner, LinearProbe, LinearProbeOptions, Measured,
    Permutations, Vote, accuracy, adjusted_rand_index, cca, cca_aligner, cka, k_means, knn_classify,
    mutual_knn, normalized_mutual_information, ridge_aligner, silhouette,
};
pub use block::BlockSize;
pub use cosines::cosines;
pub use error::EvalError;
pub use pair_choice::{GroupAccuracy, group_accuracy, prefers_true_caption, statements_pick_images};
pub use project::{project_images, project_texts};
pub use ranks::{RetrievalScores, TIE_TOLERANCE, rank};
pub use retrieval::{Retrieval, RetrievalRanks, retrieval};
pub use segmentation::{
    Confusion, Decision, FrequencyBaseline, IGNORED, LabelMap, LogitMap, Segmentation, SegmentationError,
    SlidingWindow, Window, WindowSum,
};
pub use statistics::{Bootstrap, Interval, pearson, spearman};
pub use top_k::{Match, top_k};
pub use winoground::{Winoground, winoground};
pub use zero_shot::{ZeroShot, class_weights, zero_shot};
