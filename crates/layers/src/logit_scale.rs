//! The two learned scalars between a cosine and a logit.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// `logit = exp(log_scale) * cos + bias`, both scalars learned.
///
/// The scale is kept as its logarithm and, after every step, within `[1, max]` (Radford et al. 2021, CLIP; Zhai
/// et al. 2023, SigLIP, adds the bias).
#[derive(Module, Debug)]
pub struct LogitScale {
    log_scale: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    max_log: f64,
}

impl LogitScale {
    /// Scalars at their initial values; `max` bounds the scale.
    pub fn new(scale: f64, bias: f64, max: f64, device: &Device) -> Self {
        let scalar = |value: f64| Param::from_tensor(Tensor::from_floats([value as f32], device));
        Self { log_scale: scalar(scale.ln()), bias: scalar(bias), max_log: max.ln() }
    }

    /// Natural logarithm of the scale, `[1]`.
    pub fn log_scale(&self) -> Tensor<1> {
        self.log_scale.val()
    }

    /// The bias, `[1]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.val()
    }

    /// Brings the scale back into `[1, max]`.
    pub fn clamp(mut self) -> Self {
        let max_log = self.max_log;
        self.log_scale = self.log_scale.map(|log_scale| {
            // The clamp is no part of the model: it must not enter the graph of the next step.
            if log_scale.device().is_autodiff() {
                Tensor::from_inner(log_scale.inner().clamp(0.0, max_log)).require_grad()
            } else {
                log_scale.clamp(0.0, max_log)
            }
        });
        self
    }
}
