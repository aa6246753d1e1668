//! A linear layer for inference.

use burn::tensor::{DType, Tensor, module};

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

    pub(super) fn cast(self, dtype: DType) -> Self {
        Self { weight: self.weight.cast(dtype), bias: self.bias.map(|bias| bias.cast(dtype)) }
    }
}
