//! Evaluation of embeddings, of heads and of pairs of encoders, computed in blocks.
//!
//! | question | function | result |
//! |---|---|---|
//! | does an image retrieve its captions, and a caption its image? | [`retrieval`] | [`Retrieval`] |
//! | is an image classified by the names of the classes? | [`class_weights`], [`zero_shot`] | [`ZeroShot`] |
//! | which of two candidates is correct? | [`winoground`], [`statements_pick_images`], [`prefers_true_caption`], [`group_accuracy`] | [`Winoground`], [`GroupAccuracy`] |
//! | which class does each pixel have? | [`LogitMap`], [`SlidingWindow`], [`Confusion`] | [`Segmentation`] |
//! | what are the best matches of a query? | [`top_k`] | [`Match`]es |
//! | what are the embeddings of stored features? | [`project_images`], [`project_texts`] | embeddings |
//! | are two values correlated, and how certain is a score? | [`pearson`], [`spearman`], [`Bootstrap`] | a correlation, an [`Interval`] |
//!
//! With the feature `measures`:
//!
//! | question | function | result |
//! |---|---|---|
//! | do two encoders have the same neighbours, the same similarities? | `mutual_knn`, `cka`, `cca` | `Measured` |
//! | is that more than chance, also for the best of many? | `Measured::calibrate`, `Measured::maximum`, `Differences` | `Calibrated` |
//! | does a head keep the neighbours of its features? | `neighbourhoods` | `Neighbourhoods` |
//! | do features cluster by class? | `knn_classify`, `silhouette`, `k_means` with `normalized_mutual_information` | predictions, a score |
//! | are classes linearly separable? | `LinearProbe` | predictions |
//! | how good is an alignment without training? | `Asif`; the crate `sail-fit` for other methods | embeddings for [`retrieval`] |
//!
//! # Ranks without sorting
//! Recall depends on the *rank* of the correct answer, which is a count: one more than the number of incorrect answers
//! that score at least as high. So nothing is sorted, and the matrix of all scores is never held: it is computed in
//! blocks ([`BlockSize`]), each of which updates the ranks of its rows and columns. Memory beyond the inputs is a few
//! blocks.
//!
//! # Ties count as errors
//! A head that maps everything to one point must score 0, not 100. Scores that differ by less than [`TIE_TOLERANCE`] are
//! tied, and a tie with the correct answer counts against it.
//!
//! This requires comparisons that are more precise than an f32 product, whose error reaches 6e-5 for 1,024 dimensions. A
//! block's product is therefore only a filter: scores that are clear of the threshold are counted, and the few pairs
//! within the error bound are computed again in f64. The ranks are those of f64 arithmetic on unit rows, whatever the
//! device and the order of its sums.
//!
//! # Scope
//! No models, no files, no choice of device. Embeddings need not be normalised: every function normalises them, and
//! rejects rows without a direction (NaN, infinity, all zeros), with their index.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod block;
mod chance_recall;
mod cosines;
mod error;
mod groups;
mod mean_interval;
#[cfg(feature = "measures")]
mod measures;
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

pub use block::BlockSize;
pub use chance_recall::chance_recall;
pub use cosines::cosines;
pub use error::EvalError;
pub use mean_interval::MeanInterval;
#[cfg(feature = "measures")]
pub use measures::{
    Asif, Calibrated, Cka, Differences, KMeansOptions, KnnOptions, LinearProbe, LinearProbeOptions, Measured,
    Neighbourhoods, Neighbours, Permutations, Vote, accuracy, adjusted_rand_index, cca, cka, cka_and_cca,
    k_means, knn_classify, mutual_knn, neighbourhoods, normalized_mutual_information, silhouette,
    silhouette_test,
};
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
