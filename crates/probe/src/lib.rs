//! Which vision encoder goes with which text encoder? A diagnosis from stored features, in seconds to minutes.
//!
//! The paper answers with *alignment probing*: train linear layers on the frozen features of a pair of encoders, and take
//! the retrieval score as a measure of how well the two can be aligned (arXiv 2412.04616, section 3). [`probe`] does so
//! for every pair of a [`Grid`] of encoders, and compares the scores with what is known before training:
//!
//! | | of | from |
//! |---|---|---|
//! | mutual k-NN, CKA, CCA, each with its chance level | a pair | [`sail_eval`] |
//! | k-NN accuracy, linear probing, silhouette, k-means against classes | one encoder, with class labels | [`sail_eval`] |
//! | retrieval with ridge regression, CCA and ASIF | a pair | closed form, no training |
//!
//! With several pairs it computes how well each of these [predicts](Predictor) the trained score: the correlation over
//! the pairs, with a bootstrap interval over the held-out pairs.
//!
//! Every finished part is stored in the folder of the probe, so an interrupted probe can be resumed.

mod config;
mod error;
mod grid;
mod hits;
mod labelled;
mod pair;
mod parts;
mod predict;
mod probe;
mod result;
mod summary;

pub use config::ProbeConfig;
pub use error::ProbeError;
pub use grid::{Grid, NamedFeatures};
pub use labelled::{Labelled, LabelledConfig};
pub use pair::{Aligners, PairMeasures};
pub use parts::Progress;
pub use predict::{Basis, Predictor};
pub use probe::probe;
pub use result::{FeatureSet, PairResult, Probe};
