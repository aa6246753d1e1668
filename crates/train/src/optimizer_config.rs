//! Which optimizer, and its constants.

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

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
