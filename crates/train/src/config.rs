//! The training configuration.

use sail_core::{Check, ConfigError, Dtype, ensure};
use sail_data::CaptionSampling;
use serde::{Deserialize, Serialize};

use crate::{Interval, OptimizerConfig, ParameterGroup, Schedule};

/// Training configuration.
///
/// The default is the paper's recipe (arXiv 2412.04616): 50 epochs, batches of 32,768 pairs, Lion at 1e-5 with a cosine
/// schedule. The authors' training script runs 100 epochs, as does their probing.
///
/// Missing fields have their default values, and unknown fields are an error.
///
/// # Examples
/// ```
/// use sail_core::Check;
/// use sail_train::TrainConfig;
/// let config = TrainConfig::default().with_batch_size(370).with_learning_rate(1e-4);
/// config.check()?;
/// assert!(config.with_learning_rate(-1.0).check().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainConfig {
    /// Passes over the data.
    pub epochs: usize,
    /// Pairs in a batch; an incomplete last batch of an epoch is dropped.
    #[serde(alias = "batch")]
    pub batch_size: usize,
    /// Base learning rate, the peak of the schedule.
    pub learning_rate: f64,
    /// Shape of the learning rate after the warm-up.
    pub schedule: Schedule,
    /// Fraction of the steps with linear warm-up of the learning rate, 0 to 1.
    pub warmup: f64,
    /// Fraction of the steps over which [`Schedule::ConstantWithCooldown`] decays to 0, 0 to 1.
    pub cooldown: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Parameter groups with a separate learning rate or weight decay, or frozen. If several groups match a parameter,
    /// the last one applies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameter_groups: Vec<ParameterGroup>,
    /// Maximum global norm of the gradient, which is scaled by `min(1, max / norm)`. `None` disables clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gradient_norm: Option<f64>,
    /// Decay of an exponential moving average of the head's parameters, 0 to 1. If set, the average is evaluated and
    /// saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Compute dtype of the head's layers. Weights, normalization, loss and optimizer use f32.
    #[serde(skip_serializing_if = "is_default")]
    pub precision: Dtype,
    /// Which captions an epoch shows of an image that has several.
    #[serde(skip_serializing_if = "is_default")]
    pub captions: CaptionSampling,
    /// How often an epoch shows each sample of a source, one weight for each source that the images are concatenated from;
    /// empty if all count alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_weights: Vec<f64>,
    /// Parameter `alpha` of latent mixup (FuseMix, arXiv 2312.10144): a step trains on
    /// `lambda * a + (1 - lambda) * b` of two pairs of features, images and captions alike, with one `lambda` a step, drawn from
    /// `Beta(alpha, alpha)`. 1 in its paper; 0 disables it, and other values are 0.01 to 100.
    #[serde(skip_serializing_if = "is_default")]
    pub mixup: f64,
    /// Seed of the batch order, the choice among several captions, mixup and dropout.
    pub seed: u64,
    /// Interval of evaluations. The head is always evaluated at the end of the run.
    pub evaluate_every: Interval,
    /// Number of evaluations without improvement after which the run stops early. `None` disables early stopping.
    pub patience: Option<usize>,
    /// Interval at which a copy of the head is kept. With `Never`, only the best and the last head are kept.
    #[serde(skip_serializing_if = "is_never")]
    pub keep_every: Interval,
    /// Interval at which the loss of positives and negatives, the throughput and the memory are recorded.
    #[serde(skip_serializing_if = "is_default_statistics")]
    pub statistics_every: Interval,
}

/// The logging interval of the authors' training script.
const STATISTICS_EVERY: Interval = Interval::steps(5);

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_never(interval: &Interval) -> bool {
    *interval == Interval::Never
}

fn is_default_statistics(interval: &Interval) -> bool {
    *interval == STATISTICS_EVERY
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 50,
            batch_size: 32_768,
            learning_rate: 1e-5,
            schedule: Schedule::Cosine,
            warmup: 0.1,
            cooldown: 0.2,
            weight_decay: 1e-4,
            optimizer: OptimizerConfig::LION,
            parameter_groups: Vec::new(),
            max_gradient_norm: None,
            ema_decay: None,
            precision: Dtype::F32,
            captions: CaptionSampling::Random,
            source_weights: Vec::new(),
            mixup: 0.0,
            seed: 42,
            evaluate_every: Interval::epochs(5),
            patience: None,
            keep_every: Interval::Never,
            statistics_every: STATISTICS_EVERY,
        }
    }
}

/// Builder methods, one per field.
macro_rules! builders {
    ($($method:ident($field:ident: $type:ty)),* $(,)?) => {
        impl TrainConfig {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $method(mut self, $field: $type) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

builders! {
    with_epochs(epochs: usize),
    with_batch_size(batch_size: usize),
    with_learning_rate(learning_rate: f64),
    with_schedule(schedule: Schedule),
    with_warmup(warmup: f64),
    with_cooldown(cooldown: f64),
    with_weight_decay(weight_decay: f64),
    with_optimizer(optimizer: OptimizerConfig),
    with_parameter_groups(parameter_groups: Vec<ParameterGroup>),
    with_max_gradient_norm(max_gradient_norm: impl Into<Option<f64>>),
    with_ema_decay(ema_decay: impl Into<Option<f64>>),
    with_precision(precision: Dtype),
    with_captions(captions: CaptionSampling),
    with_source_weights(source_weights: Vec<f64>),
    with_mixup(mixup: f64),
    with_seed(seed: u64),
    with_evaluate_every(evaluate_every: Interval),
    with_patience(patience: impl Into<Option<usize>>),
    with_keep_every(keep_every: Interval),
    with_statistics_every(statistics_every: Interval),
}

impl Check for TrainConfig {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.epochs > 0, "epochs", self.epochs, "at least 1")?;
        ensure(self.batch_size > 1, "batch_size", self.batch_size, "at least 2: a pair needs a negative")?;
        let rate = self.learning_rate;
        ensure(rate.is_finite() && rate > 0.0, "learning_rate", rate, "a positive number")?;
        let share = |field, value| ensure((0.0..=1.0).contains(&value), field, value, "0 to 1");
        share("warmup", self.warmup)?;
        share("cooldown", self.cooldown)?;
        check_decay(self.weight_decay, rate)?;
        let valid = self.source_weights.iter().all(|weight| weight.is_finite() && *weight > 0.0);
        ensure(valid, "source_weights", format!("{:?}", self.source_weights), "positive numbers")?;
        let alpha = self.mixup;
        ensure(alpha == 0.0 || (0.01..=100.0).contains(&alpha), "mixup", alpha, "0, or 0.01 to 100")?;
        self.optimizer.check()?;
        for group in &self.parameter_groups {
            group.check()?;
            check_decay(group.weight_decay.unwrap_or(self.weight_decay), rate * group.learning_rate_scale)?;
        }
        if let Some(norm) = self.max_gradient_norm {
            ensure(norm.is_finite() && norm > 0.0, "max_gradient_norm", norm, "a positive number")?;
        }
        if let Some(decay) = self.ema_decay {
            ensure((0.0..1.0).contains(&decay), "ema_decay", decay, "at least 0 and less than 1")?;
        }
        ensure(self.patience != Some(0), "patience", 0, "at least 1")?;
        let evaluates = self.patience.is_none() || self.evaluate_every != Interval::Never;
        ensure(evaluates, "patience", "set", "evaluations during the run: set `evaluate_every` above 0")
    }
}

/// A decay above `1 / learning_rate` would flip the sign of a weight instead of shrinking it.
fn check_decay(decay: f64, rate: f64) -> Result<(), ConfigError> {
    let bound = if rate > 0.0 { 1.0 / rate } else { f64::MAX };
    ensure((0.0..=bound).contains(&decay), "weight_decay", decay, "0 to 1 / learning_rate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_settings_of_earlier_versions() {
        let earlier = r#"{"epochs": 3, "batch": 370, "learning_rate": 0.0001, "weight_decay": 0.0001,
            "optimizer": {"kind": "lion", "betas": [0.9, 0.99]}, "warmup": 0.1, "seed": 0, "evaluate_every": 5,
            "patience": null}"#;
        let expected =
            TrainConfig::default().with_epochs(3).with_batch_size(370).with_learning_rate(1e-4).with_seed(0);
        assert_eq!(serde_json::from_str::<TrainConfig>(earlier).unwrap(), expected);
        let json = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<TrainConfig>(&json).unwrap(), expected);
        assert!(serde_json::from_str::<TrainConfig>(r#"{"epoch": 3}"#).is_err());
    }

    #[test]
    fn rejects_invalid_values() {
        let config = TrainConfig::default;
        for (config, field) in [
            (config().with_epochs(0), "epochs"),
            (config().with_batch_size(1), "batch_size"),
            (config().with_learning_rate(f64::NAN), "learning_rate"),
            (config().with_warmup(1.5), "warmup"),
            (config().with_cooldown(-0.1), "cooldown"),
            (config().with_weight_decay(2e5), "weight_decay"),
            (config().with_mixup(-1.0), "mixup"),
            (config().with_mixup(f64::NAN), "mixup"),
            (config().with_max_gradient_norm(0.0), "max_gradient_norm"),
            (config().with_ema_decay(1.0), "ema_decay"),
            (config().with_patience(0), "patience"),
            (config().with_patience(2).with_evaluate_every(Interval::Never), "patience"),
            (config().with_parameter_groups(vec![ParameterGroup::new("")]), "parameters"),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
    }
}
