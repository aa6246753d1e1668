//! Optimizers: their configuration, and one built for the parameters of a head.

use burn::module::{Module, ParamGroup};
use burn::optim::{AdamWConfig, LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};
use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

use crate::TrainConfig;
use crate::lion::FusedLion;
use crate::parameters::parameters;

/// An optimizer and its constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// The sign of an interpolated momentum (Chen et al., arXiv 2302.06675); decays every parameter.
    Lion {
        /// Interpolation of the momentum with the gradient, in the update and in the momentum itself, 0 to 1.
        betas: [f32; 2],
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101); gains, biases and the scalars of the
    /// logits do not decay.
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

    /// Tensors that it keeps for each parameter.
    pub(crate) fn moments(&self) -> usize {
        match self {
            Self::Lion { .. } => 1,
            Self::AdamW { .. } => 2,
        }
    }
}

impl Check for OptimizerConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let betas = match *self {
            Self::Lion { betas } => betas,
            Self::AdamW { betas, epsilon } => {
                ensure(epsilon.is_finite() && epsilon > 0.0, "epsilon", epsilon, "a positive number")?;
                betas
            }
        };
        let valid = betas.iter().all(|beta| (0.0..1.0).contains(beta));
        ensure(valid, "betas", format!("{betas:?}"), "two numbers of at least 0 and less than 1")
    }
}

/// Builds the optimizer of a run for the parameters of `module`. The configuration is taken as checked.
pub fn optimizer(config: &TrainConfig, module: &impl Module) -> ModuleOptimizer {
    let mut optimizer = build(&config.optimizer, config.weight_decay, None);
    // Parameters that differ from the default, together where they differ alike.
    let mut groups: Vec<((f64, f64), Vec<_>)> = Vec::new();
    for parameter in parameters(module) {
        let group = parameter.group(&config.parameter_groups);
        let undecayed = parameter.is_vector() && matches!(config.optimizer, OptimizerConfig::AdamW { .. });
        let decay = if undecayed { 0.0 } else { config.weight_decay };
        let decay = group.and_then(|group| group.weight_decay).unwrap_or(decay);
        let settings = (group.map_or(1.0, |group| group.learning_rate_scale), decay);
        if settings == (1.0, config.weight_decay) {
            continue;
        }
        match groups.iter_mut().find(|(known, _)| *known == settings) {
            Some((_, ids)) => ids.push(parameter.id),
            None => groups.push((settings, vec![parameter.id])),
        }
    }
    for ((scale, decay), ids) in groups {
        optimizer = build(&config.optimizer, decay, Some((optimizer, ParamGroup::from_ids(ids), scale)));
    }
    optimizer
}

/// An optimizer for all parameters, or for a group of them beside those of another.
fn build(
    config: &OptimizerConfig,
    decay: f64,
    group: Option<(ModuleOptimizer, ParamGroup, f64)>,
) -> ModuleOptimizer {
    fn add<O: Optimizer>(optimizer: O, group: Option<(ModuleOptimizer, ParamGroup, f64)>) -> ModuleOptimizer {
        match group {
            None => optimizer.into(),
            Some((all, group, scale)) => all.with_group(group, Scaled { optimizer, scale }, None),
        }
    }
    match *config {
        OptimizerConfig::Lion { betas } => add(FusedLion::new(betas, decay as f32), group),
        OptimizerConfig::AdamW { betas: [beta_1, beta_2], epsilon } => {
            let adamw = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(epsilon);
            add(adamw.with_weight_decay(decay as f32).build(), group)
        }
    }
}

/// An optimizer under a multiple of the run's learning rate.
#[derive(Clone)]
struct Scaled<O> {
    optimizer: O,
    scale: f64,
}

impl<O: Optimizer> Optimizer for Scaled<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.optimizer.step(rate * self.scale, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}
