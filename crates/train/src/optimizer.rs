//! Builds the optimizer of a run.

use burn::module::{Module, ParamGroup};
use burn::optim::{AdamWConfig, LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

use crate::lion::FusedLion;
use crate::parameters::parameters;
use crate::{OptimizerConfig, TrainConfig};

/// Builds the optimizer of a run for the parameters of `module`. The configuration must be valid.
pub fn optimizer(config: &TrainConfig, module: &impl Module) -> ModuleOptimizer {
    let mut optimizer = build(&config.optimizer, config.weight_decay, None);
    // Groups the parameters with settings other than the default by their settings.
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

/// Builds an optimizer for all parameters, or adds one for a group of parameters.
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

/// An optimizer with a multiple of the learning rate.
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
