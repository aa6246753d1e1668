//! A linear layer at inference.

use burn::tensor::{FloatDType, Tensor, module};

/// `x W + b` with a weight of shape `[in, out]`.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    pub(super) weight: Tensor<2>,
    pub(super) bias: Option<Tensor<1>>,
}

impl Dense {
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        module::linear(x, self.weight.clone(), self.bias.clone())
    }

    pub(super) fn cast(self, precision: FloatDType) -> Self {
        Self { weight: self.weight.cast(precision), bias: self.bias.map(|bias| bias.cast(precision)) }
    }
}
