//! Which vision encoder goes with which text encoder? Asked of features that lie in stores, in seconds to minutes.
//!
//! The paper answers by *alignment probing*: train linear layers on the frozen features of a pair, and take the retrieval
//! score as the measure of how alignable the two are (arXiv 2412.04616, section 3). [`probe`] does so for every pair of a
//! [`Grid`] of encoders, and sets beside it what could have been known before any training:
//!
//! | | of | from |
//! |---|---|---|
//! | mutual k-NN, CKA, CCA, each with its value on random pairings | a pair | [`sail_eval`] |
//! | k-NN accuracy, linear probing, silhouette, k-means against classes | one encoder, if its images have classes | [`sail_eval`] |
//! | retrieval through ridge regression, CCA and ASIF | a pair | closed form, no training |
//!
//! With several pairs it says how each of these [predicts](Predictor) the trained score: the correlation over the pairs,
//! with an interval that comes from resampling the held-out pairs.
//!
//! Every finished part is kept in the folder of the probe, so that an interrupted one goes on where it was.

mod config;
mod error;
mod grid;
mod hits;
mod labelled;
mod pair;
mod predict;
mod run;

pub use config::ProbeConfig;
pub use error::ProbeError;
pub use grid::{Grid, NamedFeatures};
pub use labelled::{Labelled, LabelledConfig};
pub use pair::{Aligners, PairMeasures};
pub use predict::{Basis, Predictor};
pub use run::{FeatureSet, PairResult, Probe, Progress, probe};
