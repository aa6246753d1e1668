//! What a probe does.

use sail_core::{Check, ConfigError, ensure};
use sail_train::{Interval, TrainConfig};
use serde::{Deserialize, Serialize};

/// The settings of a probe.
///
/// # Examples
/// ```
/// use sail_core::Check;
/// use sail_probe::ProbeConfig;
/// let config = ProbeConfig { holdout: 100, ..ProbeConfig::new(512) };
/// config.check()?;
/// assert!(ProbeConfig { holdout: 0, ..config }.check().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Pairs kept out of all fits and used to judge them; at least 2.
    pub holdout: usize,
    /// Source of the holdout, initial weights, permutations and bootstrap samples.
    pub seed: u64,
    /// Dimension of the space that the linear layers map into.
    pub dim: usize,
    /// How the linear layers are trained.
    pub train: TrainConfig,
    /// The `k` of mutual k-NN.
    pub mutual_k: usize,
    /// The `k` of k-NN classification.
    pub knn_k: usize,
    /// The ridge of CCA and of ridge regression, in units of the mean variance of a column; above 0.
    pub regularization: f64,
    /// The penalty of linear probing.
    pub l2: f64,
    /// Random pairings that measures are held against.
    pub permutations: usize,
    /// Samples of the held-out pairs that intervals come from; at least 1.
    pub resamples: usize,
    /// Training pairs that the measures before training look at, at most; more are sampled down to it. At least 20.
    pub rows: usize,
}

impl ProbeConfig {
    /// The paper's probe with batches of this size, 512 held-out pairs and 20 permutations.
    pub fn new(batch: usize) -> Self {
        Self {
            holdout: 512,
            seed: 42,
            dim: 512,
            train: TrainConfig::default()
                .with_epochs(50)
                .with_batch_size(batch)
                .with_learning_rate(3e-4)
                .with_weight_decay(1e-7)
                .with_evaluate_every(Interval::Never),
            mutual_k: 10,
            knn_k: 20,
            regularization: 0.1,
            l2: 1e-2,
            permutations: 20,
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
        ensure(valid, "regularization", self.regularization, "a finite number above 0")?;
        ensure(self.l2 >= 0.0 && self.l2.is_finite(), "l2", self.l2, "a finite number, 0 or more")?;
        ensure(self.resamples > 0, "resamples", self.resamples, "at least 1")?;
        ensure(self.rows >= 20, "rows", self.rows, "at least 20")
    }
}
