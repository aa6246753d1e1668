//! Optimizer configuration.

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

/// The optimizer and its hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Lion (Chen et al., arXiv 2302.06675). Weight decay applies to all parameters.
    Lion {
        /// Interpolation of momentum and gradient, for the update and for the momentum, 0 to 1.
        betas: [f32; 2],
    },
    /// AdamW (Loshchilov and Hutter, arXiv 1711.05101). Weight decay does not apply to norms, biases and the logit
    /// scale and bias.
    AdamW {
        /// Decay of the first and second moment, 0 to 1.
        betas: [f32; 2],
        /// Added to the square root of the second moment, for numerical stability.
        epsilon: f32,
    },
}

impl OptimizerConfig {
    /// Lion with the betas of the paper.
    pub const LION: Self = Self::Lion { betas: [0.9, 0.99] };
    /// AdamW with its usual hyperparameters.
    pub const ADAMW: Self = Self::AdamW { betas: [0.9, 0.999], epsilon: 1e-8 };

    /// Returns the number of state tensors per parameter.
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
        ensure(valid, "betas", format!("{betas:?}"), "two values of at least 0 and less than 1")
    }
}
