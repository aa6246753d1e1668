//! Half precision where it is safe.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use sail_core::{AlignmentHead, LossGradients};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// The largest gradient that enters an f16 layer, as a power of two: far below f16's 65,504, because a weight's
/// gradient is a sum over rows, and far above its smallest number, 2^-24.
const LARGEST_GRADIENT: f32 = -4.0;

/// What the head's layers compute in. Weights, optimiser, norms, embeddings and loss are f32 whatever it is.
///
/// `f32` keeps 24 bits, `bf16` 8 with the range of f32, `f16` 11 with a range of 6e-8 to 65,504. The gradients that
/// enter an f16 layer are multiplied by a power of two that brings the largest to 1/16, and divided again in f32, so
/// that those of a large batch, which are tiny, do not vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Brain floating point.
    Bf16,
    /// Half precision.
    F16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl Precision {
    /// Whether it is the default, which a configuration does not spell out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    pub(crate) fn check(self, device: &Device) -> Result<(), TrainError> {
        if device.supports_dtype(DType::from(self.dtype())) {
            return Ok(());
        }
        Err(TrainError::Precision { precision: self, part: format!("the device {device:?}") })
    }

    /// The head as it computes in this precision.
    pub(crate) fn of<H: AlignmentHead>(self, head: &H) -> Result<H, TrainError> {
        match self {
            Self::F32 => Ok(head.clone()),
            _ => head
                .computing_in(self.dtype())
                .ok_or_else(|| TrainError::Precision { precision: self, part: "the head".to_owned() }),
        }
    }

    /// The loss's gradients as they go through the head, and the factor that brings its gradients back.
    pub(crate) fn scaled(self, loss: LossGradients) -> (LossGradients, f32) {
        if self != Self::F16 {
            return (loss, 1.0);
        }
        let largest = |x: &Tensor<2>| x.clone().abs().max().into_scalar::<f32>();
        let largest = loss.texts.iter().map(largest).fold(largest(&loss.images), f32::max);
        if !largest.is_normal() {
            return (loss, 1.0);
        }
        let scale = (LARGEST_GRADIENT - largest.log2().floor()).clamp(-100.0, 100.0).exp2();
        let loss = LossGradients {
            value: loss.value,
            images: loss.images * scale,
            texts: loss.texts.into_iter().map(|texts| texts * scale).collect(),
            log_scale: loss.log_scale * scale,
            bias: loss.bias * scale,
        };
        (loss, scale.recip())
    }
}

/// Multiplies the gradients of all parameters of a module.
pub(crate) fn multiply<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    factor: f32,
) -> GradientsParams {
    if factor != 1.0 {
        module.visit(&mut Multiply { gradients: &mut gradients, factor });
    }
    gradients
}

struct Multiply<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Multiply<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}
