//! The update rule and the parameters that it decays.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;

use crate::lion::FusedLion;
use crate::{OptimizerConfig, TrainConfig};

/// Vectors and scalars: the gains and biases of layers, and the logit's scale and bias.
#[derive(Default)]
struct Vectors(Vec<ParamId>);

impl ModuleVisitor for Vectors {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 1 {
            self.0.push(param.id);
        }
    }
}

/// Builds the optimiser of a run for the parameters of `module`. The configuration is taken as checked.
pub fn optimizer(config: &TrainConfig, module: &impl Module) -> ModuleOptimizer {
    let decay = config.weight_decay as f32;
    match config.optimizer {
        OptimizerConfig::Lion { betas } => FusedLion::new(betas, decay).into(),
        OptimizerConfig::AdamW { betas: [beta_1, beta_2], epsilon } => {
            let adamw = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(epsilon);
            let mut vectors = Vectors::default();
            module.visit(&mut vectors);
            let undecayed = adamw.clone().with_weight_decay(0.0).build();
            let group = ParamGroup::from_ids(vectors.0);
            adamw.with_weight_decay(decay).init().with_group(group, undecayed, None)
        }
    }
}
