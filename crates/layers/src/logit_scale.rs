//! The learned scale and bias of the logits.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// The learned scalars of `logit = exp(log_scale) * cos + bias`.
///
/// The scale is stored as its logarithm and clamped to `[1, max]` after every step (CLIP, Radford et al. 2021; the bias
/// is that of SigLIP, Zhai et al. 2023).
#[derive(Module, Debug)]
pub struct LogitScale {
    log_scale: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    max_log: f64,
}

impl LogitScale {
    /// Creates the scalars with their initial values; `max` is the upper bound of the scale.
    pub fn new(scale: f64, bias: f64, max: f64, device: &Device) -> Self {
        let scalar = |value: f64| Param::from_tensor(Tensor::from_floats([value as f32], device));
        Self { log_scale: scalar(scale.ln()), bias: scalar(bias), max_log: max.ln() }
    }

    /// Returns the natural logarithm of the scale, `[1]`.
    pub fn log_scale(&self) -> Tensor<1> {
        self.log_scale.val()
    }

    /// Returns the bias, `[1]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.val()
    }

    /// Clamps the scale to `[1, max]`.
    pub fn clamp(mut self) -> Self {
        let max_log = self.max_log;
        self.log_scale = self.log_scale.map(|log_scale| {
            // Outside the graph: the clamp is not part of the model.
            if log_scale.device().is_autodiff() {
                Tensor::from_inner(log_scale.inner().clamp(0.0, max_log)).require_grad()
            } else {
                log_scale.clamp(0.0, max_log)
            }
        });
        self
    }
}
