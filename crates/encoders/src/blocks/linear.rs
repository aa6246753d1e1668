//! A linear layer for inference.

use burn::tensor::{DType, Tensor, module};
use sail_support::cpu::is_cpu;

use crate::pretrained::Weights;

/// `x W + b`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[in, out]`
    pub(crate) weight: Tensor<2>,
    /// `[out]`
    pub(crate) bias: Option<Tensor<1>>,
}

impl Linear {
    /// Takes `name.weight` of shape `[out, in]`, and `name.bias` if there is one.
    pub(crate) fn load(weights: &mut Weights, name: &str, [input, output]: [usize; 2], bias: bool) -> Self {
        let weight = weights.take(&format!("{name}.weight"), [output, input]).transpose();
        let weight = contiguous(weight);
        Self { weight, bias: bias.then(|| weights.take(&format!("{name}.bias"), [output])) }
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::linear(x, self.weight.clone(), self.bias.clone())
    }

    /// Concatenates layers of the same input; all or none must have a bias.
    pub(crate) fn concatenate(layers: Vec<Self>) -> Self {
        let biases: Option<Vec<_>> = layers.iter().map(|layer| layer.bias.clone()).collect();
        let weight = Tensor::cat(layers.into_iter().map(|layer| layer.weight).collect(), 1);
        Self { weight, bias: biases.map(|biases| Tensor::cat(biases, 0)) }
    }

    /// Scales every output, computed in `f32`.
    pub(crate) fn scaled(self, scale: Option<Tensor<1>>) -> Self {
        let Some(scale) = scale.map(|scale| scale.cast(DType::F32)) else { return self };
        let Self { weight, bias } = self.cast(DType::F32);
        Self { weight: weight * scale.clone().unsqueeze(), bias: bias.map(|bias| bias * scale) }
    }

    pub(crate) fn cast(self, dtype: DType) -> Self {
        Self { weight: self.weight.cast(dtype), bias: self.bias.map(|bias| bias.cast(dtype)) }
    }
}

/// Lays a transposed matrix out by rows on the CPU, where products with it are 4 % faster.
fn contiguous(x: Tensor<2>) -> Tensor<2> {
    let device = x.device();
    if !is_cpu(&device) {
        return x;
    }
    let dtype = x.dtype();
    Tensor::from_data(x.into_data(), (&device, dtype))
}
