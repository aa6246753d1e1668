//! The result of a probe.

use sail_eval::{Calibrated, Differences, Interval, Retrieval};
use serde::{Deserialize, Serialize};

use crate::{Aligners, Labelled, Maps, PairMeasures, Predictor, Search};

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
    /// Every image encoder with every text encoder; texts vary fastest.
    pub pairs: Vec<PairResult>,
    /// How much of the measures of the pairs is more than chance; `None` without permutations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub significance: Option<Significance>,
    /// Values known before training, with their correlations with the scores.
    pub predictors: Vec<Predictor>,
}

/// How much of the measures of all pairs is more than chance. Pairs without a null distribution are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Significance {
    /// Significance level.
    pub alpha: f64,
    /// Number of permutations, the same for all pairs and measures.
    pub permutations: usize,
    /// Mutual k-nearest neighbours.
    pub mutual_knn: Option<GridSignificance>,
    /// Debiased CKA.
    pub cka: Option<GridSignificance>,
    /// Mean squared canonical correlation.
    pub cca: Option<GridSignificance>,
}

/// How much of one measure of all pairs is more than chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridSignificance {
    /// Image features of the pair with the highest value.
    pub images: String,
    /// Text features of the pair with the highest value.
    pub texts: String,
    /// The highest value, calibrated as the highest of all pairs.
    pub maximum: Calibrated,
    /// The numbers of pairs above chance and of differences that chance does not explain.
    #[serde(flatten)]
    pub differences: Differences,
}

/// One set of features, of an encoder or a candidate of it.
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
    /// Name of the image encoder.
    pub images: String,
    /// Name of the text encoder.
    pub texts: String,
    /// The search among the candidates of the encoders, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
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
    /// Trustworthiness and continuity of the trained layers for the `k` of mutual k-NN; `None` if the held-out pairs are no more
    /// than `2 k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<Maps>,
}

impl Probe {
    /// Returns the pair with the highest score, the first one of several.
    pub fn best(&self) -> Option<&PairResult> {
        self.pairs.iter().rev().max_by(|a, b| a.score.total_cmp(&b.score))
    }
}
