//! What a run does.

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

use crate::Precision;

/// The update rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Sign of an interpolated momentum (Chen et al., arXiv 2302.06675); decays every parameter.
    Lion {
        /// Weights of the momentum in the update and in itself, 0 to 1.
        betas: [f32; 2],
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101); gains, biases and the logit
    /// scalars do not decay.
    AdamW {
        /// Decay of the first and second moment, 0 to 1.
        betas: [f32; 2],
        /// Added to the root of the second moment.
        epsilon: f32,
    },
}

impl OptimizerConfig {
    /// Lion as the paper uses it.
    pub const LION: Self = Self::Lion { betas: [0.9, 0.99] };
    /// AdamW with its usual constants.
    pub const ADAMW: Self = Self::AdamW { betas: [0.9, 0.999], epsilon: 1e-8 };
}

/// The configuration of a run. The default is the paper's recipe.
///
/// # Examples
/// ```
/// use sail_core::Check;
/// use sail_train::TrainConfig;
/// let config = TrainConfig { batch: 370, learning_rate: 1e-4, ..TrainConfig::default() };
/// config.check()?;
/// assert!(TrainConfig { learning_rate: -1.0, ..config }.check().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the data.
    pub epochs: usize,
    /// Rows of a batch; a last batch that is not full is dropped.
    pub batch: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The update rule.
    pub optimizer: OptimizerConfig,
    /// What the head's layers compute in.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// Share of the steps in which the learning rate rises, 0 to 1; a cosine brings it down to 0 after that.
    pub warmup: f64,
    /// Source of the batch order, the choice among several captions, and dropout.
    pub seed: u64,
    /// Epochs between two evaluations on the holdout; the last epoch is always evaluated. 0: only the last.
    pub evaluate_every: usize,
    /// Evaluations without a new best after which the run stops; none: it never stops early.
    pub patience: Option<usize>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 50,
            batch: 32_768,
            learning_rate: 1e-5,
            weight_decay: 1e-4,
            optimizer: OptimizerConfig::LION,
            precision: Precision::F32,
            warmup: 0.1,
            seed: 42,
            evaluate_every: 5,
            patience: None,
        }
    }
}

impl Check for TrainConfig {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.epochs > 0, "epochs", self.epochs, "at least 1")?;
        ensure(self.batch > 1, "batch", self.batch, "at least 2: contrast needs a negative")?;
        let rate = self.learning_rate;
        ensure(rate.is_finite() && rate > 0.0, "learning_rate", rate, "a positive number")?;
        // Beyond this, decay flips the sign of a weight instead of shrinking it.
        let decay = self.weight_decay;
        ensure((0.0..=1.0 / rate).contains(&decay), "weight_decay", decay, "0 to 1 / learning_rate")?;
        ensure((0.0..=1.0).contains(&self.warmup), "warmup", self.warmup, "0 to 1")?;
        ensure(self.patience != Some(0), "patience", 0, "at least 1")?;
        let betas = match self.optimizer {
            OptimizerConfig::Lion { betas } => betas,
            OptimizerConfig::AdamW { betas, epsilon } => {
                ensure(epsilon.is_finite() && epsilon > 0.0, "epsilon", epsilon, "a positive number")?;
                betas
            }
        };
        let valid = betas.iter().all(|beta| (0.0..1.0).contains(beta));
        ensure(valid, "betas", format!("{betas:?}"), "two numbers of at least 0 and less than 1")
    }
}
