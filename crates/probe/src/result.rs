//! The result of a probe.

use sail_eval::{Interval, Retrieval};
use serde::{Deserialize, Serialize};

use crate::{Aligners, Labelled, PairMeasures, Predictor};

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Number of pairs that the heads were trained on.
    pub train_pairs: usize,
    /// Number of training pairs that the measures before training were computed on.
    pub measured_pairs: usize,
    /// Number of held-out pairs, which all scores are computed on.
    pub holdout: usize,
    /// Batch size of the training: that of the configuration, at most `train_pairs`.
    pub batch_size: usize,
    /// The image features.
    pub images: Vec<FeatureSet>,
    /// The text features.
    pub texts: Vec<FeatureSet>,
    /// Every image set with every text set; texts vary fastest.
    pub pairs: Vec<PairResult>,
    /// Values known before training, with their correlations with the scores.
    pub predictors: Vec<Predictor>,
}

/// The features of one encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureSet {
    /// Name of the set.
    pub name: String,
    /// Model that computed the features, if known.
    pub model: Option<String>,
    /// Dimension of the features.
    pub dim: usize,
    /// Measures by class, if there are class labels.
    pub labelled: Option<Labelled>,
}

/// The result of one pair of encoders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairResult {
    /// Name of the image features.
    pub images: String,
    /// Name of the text features.
    pub texts: String,
    /// The alignment score: the mean of R@10 in both directions on the held-out pairs, in percent, with linear layers
    /// trained on the other pairs.
    pub score: f64,
    /// Bootstrap interval of the score over the held-out pairs.
    pub interval: Interval,
    /// The retrieval scores behind the alignment score.
    pub trained: Retrieval,
    /// Measures of the unaligned features.
    pub measures: PairMeasures,
    /// Retrieval with closed-form aligners.
    pub aligners: Aligners,
}

impl Probe {
    /// Returns the pair with the highest score, the first one of several.
    pub fn best(&self) -> Option<&PairResult> {
        self.pairs.iter().rev().max_by(|a, b| a.score.total_cmp(&b.score))
    }
}
