//! Which vision encoder goes with which text encoder? A diagnosis from stored features, in seconds to minutes.
//!
//! The paper answers with *alignment probing*: train linear layers on the frozen features of a pair of encoders, and take
//! the retrieval score as a measure of how well the two can be aligned (arXiv 2412.04616, section 3). [`probe`] does so
//! for every pair of a [`Grid`] of encoders, and compares the scores with what is known before training:
//!
//! | | of | from |
//! |---|---|---|
//! | mutual k-NN, CKA, CCA, each beside what random pairings give | a pair | [`sail_eval`] |
//! | k-NN accuracy, linear probing, silhouette, k-means against classes | one encoder, with class labels | [`sail_eval`] |
//! | retrieval with ridge regression, CCA and ASIF | a pair | closed form, no training |
//!
//! With several pairs it computes how well each of these [predicts](Predictor) the trained score: the correlation over
//! the pairs, with a bootstrap interval over the held-out pairs.
//!
//! Measures are calibrated: compared with the same measure of randomly paired rows, with one set of permutations for the whole
//! grid ([`Significance`]). An encoder may have several candidates, such as its layers ([`Grid::search`]).
//!
//! Every finished part is stored in the folder of the probe, so an interrupted probe can be resumed.

mod config;
mod error;
mod grid;
mod hits;
mod labelled;
mod measures;
mod pair;
mod parts;
mod predict;
mod probe;
mod result;
mod summary;

pub use config::ProbeConfig;
pub use error::ProbeError;
pub use grid::{EncoderFeatures, Grid, NamedFeatures};
pub use labelled::{Labelled, LabelledCalibration, LabelledConfig};
pub use measures::{PairMeasures, Search};
pub use pair::{Aligners, Maps};
pub use parts::Progress;
pub use predict::{Basis, Predictor};
pub use probe::probe;
pub use result::{FeatureSet, GridSignificance, PairResult, Probe, Significance};
