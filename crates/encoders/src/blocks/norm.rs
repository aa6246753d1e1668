//! Norms of token states.

use burn::tensor::{DType, Tensor, module};

use crate::pretrained::Weights;
use crate::spec::{NormKind, NormSpec};

/// A norm over the last dimension, computed in `f32`.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    spec: NormSpec,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
}

impl Norm {
    /// Takes `name.weight`, and `name.bias` if there is one.
    pub(crate) fn load(weights: &mut Weights, name: &str, width: usize, spec: NormSpec) -> Self {
        let weight = weights.take(&format!("{name}.weight"), [width]);
        Self { spec, weight, bias: spec.bias.then(|| weights.take(&format!("{name}.bias"), [width])) }
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let weight = self.weight.clone().cast(DType::F32);
        let x = x.cast(DType::F32);
        let x = match self.spec.kind {
            NormKind::Layer => {
                let bias = self.bias.clone().map(|bias| bias.cast(DType::F32));
                module::layer_norm(x, weight, bias, self.spec.epsilon)
            }
            NormKind::Rms => self.rms(x) * weight.unsqueeze(),
            NormKind::RmsPlusOne => self.rms(x) * (weight + 1.0).unsqueeze(),
        };
        x.cast(dtype)
    }

    fn rms<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let mean = x.clone().square().mean_dim(D - 1);
        x / (mean + self.spec.epsilon).sqrt()
    }

    pub(crate) fn cast(self, dtype: DType) -> Self {
        let Self { spec, weight, bias } = self;
        Self { spec, weight: weight.cast(dtype), bias: bias.map(|bias| bias.cast(dtype)) }
    }
}
