//! The configuration of a probe.

use sail_core::{Check, ConfigError, ensure};
use sail_eval::Permutations;
use sail_train::{Interval, OptimizerConfig, TrainConfig};
use serde::{Deserialize, Serialize};

/// The configuration of a probe.
///
/// The default trains as the authors' published probing script does: linear layers to 2,048 dimensions, 100 epochs of
/// Lion with a learning rate of 1e-5, a weight decay of 1e-7 and a batch size of 32,768, which is made for millions of
/// pairs. Thousands of pairs take few steps per epoch and need a learning rate around 3e-4.
///
/// # Examples
/// ```
/// use sail_core::Check;
/// use sail_probe::ProbeConfig;
/// let config = ProbeConfig { holdout: 100, ..ProbeConfig::default() };
/// config.check()?;
/// assert!(ProbeConfig { holdout: 0, ..config }.check().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Number of pairs that are held out of all fits and that scores are computed on; at least 2.
    pub holdout: usize,
    /// Seed of the holdout, initial weights, permutations and bootstrap samples.
    pub seed: u64,
    /// Embedding dimension of the linear layers.
    pub dim: usize,
    /// Training of the linear layers. A batch size above the number of training pairs is reduced to it.
    pub train: TrainConfig,
    /// The `k` of mutual k-NN.
    pub mutual_k: usize,
    /// The `k` of k-NN classification.
    pub knn_k: usize,
    /// Regularisation of CCA and ridge regression, relative to the mean variance of a column; above 0.
    pub regularization: f64,
    /// L2 penalty of linear probing.
    pub l2: f64,
    /// Number of random pairings that measures are calibrated by: 0 for none, or at least `1 / alpha - 1`.
    pub permutations: usize,
    /// Significance level of the calibration, above 0 and below 1.
    #[serde(default = "default_alpha")]
    pub alpha: f64,
    /// Number of bootstrap samples of the held-out pairs; at least 1.
    pub resamples: usize,
    /// Maximum number of training pairs for the measures before training, at least 20. Larger sets are sampled.
    pub rows: usize,
}

/// The level of the paper on null calibration (arXiv 2602.14486), also for configurations of earlier versions.
fn default_alpha() -> f64 {
    0.05
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            holdout: 512,
            seed: 42,
            dim: 2048,
            train: TrainConfig::default()
                .with_epochs(100)
                .with_batch_size(32_768)
                .with_learning_rate(1e-5)
                .with_weight_decay(1e-7)
                .with_optimizer(OptimizerConfig::LION)
                .with_evaluate_every(Interval::Never),
            mutual_k: 10,
            knn_k: 20,
            regularization: 0.1,
            l2: 1e-2,
            permutations: 200,
            alpha: default_alpha(),
            resamples: 1000,
            rows: 50_000,
        }
    }
}

impl Check for ProbeConfig {
    fn check(&self) -> Result<(), ConfigError> {
        self.train.check()?;
        ensure(self.holdout >= 2, "holdout", self.holdout, "at least 2")?;
        ensure(self.dim > 0, "dim", self.dim, "at least 1")?;
        ensure(self.mutual_k > 0, "mutual_k", self.mutual_k, "at least 1")?;
        ensure(self.knn_k > 0, "knn_k", self.knn_k, "at least 1")?;
        let valid = self.regularization > 0.0 && self.regularization.is_finite();
        ensure(valid, "regularization", self.regularization, "a finite value above 0")?;
        ensure(self.l2 >= 0.0 && self.l2.is_finite(), "l2", self.l2, "a finite value of at least 0")?;
        Permutations { count: self.permutations, seed: self.seed }.check_level(self.alpha)?;
        ensure(self.resamples > 0, "resamples", self.resamples, "at least 1")?;
        ensure(self.rows >= 20, "rows", self.rows, "at least 20")
    }
}
