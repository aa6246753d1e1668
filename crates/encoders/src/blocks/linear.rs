//! A linear layer for inference.

use burn::tensor::quantization::{QuantScheme, QuantStore, QuantValue, ScaleDtype};
use burn::tensor::{DType, Device, Tensor, module};
use sail_core::{LowRank, Quantization};
use sail_matmul::{PackedWeight, Products};
use sail_support::cpu::is_cpu;

use crate::pretrained::Weights;

/// Numbers of inputs that share a scale in quantized weights, by preference.
const SHARE_SCALE: [u8; 3] = [32, 16, 8];

/// `x W + b`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(super) weight: Weight,
    /// `[out]`
    pub(crate) bias: Option<Tensor<1>>,
    /// Added to the outputs while it is trained; afterwards it is [merged](Linear::merged).
    low_rank: Option<LowRank>,
}

/// `[in, out]`
#[derive(Debug, Clone)]
pub(super) enum Weight {
    /// Of integers while it is [quantized](Linear::quantized).
    Tensor(Tensor<2>),
    Packed(PackedWeight),
}

impl Linear {
    /// Takes `name.weight` of shape `[out, in]`, and `name.bias` if there is one.
    pub(crate) fn load(weights: &mut Weights, name: &str, [input, output]: [usize; 2], bias: bool) -> Self {
        let weight = weights.take(&format!("{name}.weight"), [output, input]).transpose();
        let weight = contiguous(weight);
        Self::new(weight, bias.then(|| weights.take(&format!("{name}.bias"), [output])))
    }

    pub(crate) fn new(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Self {
        Self { weight: Weight::Tensor(weight), bias, low_rank: None }
    }

    pub(super) fn with_bias(self, bias: Option<Tensor<1>>) -> Self {
        Self { bias, ..self }
    }

    /// Adds an update to the outputs.
    pub(super) fn adapted(self, low_rank: LowRank) -> Self {
        Self { low_rank: Some(low_rank), ..self }
    }

    /// Adds an update to the weights, computed in `f32`.
    pub(super) fn merged(self, low_rank: &LowRank) -> Self {
        Self::new(self.weight().cast(DType::F32) + low_rank.update(), self.bias)
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.apply(x, self.bias.clone())
    }

    /// `x W`
    pub(crate) fn product(&self, x: Tensor<2>) -> Tensor<2> {
        self.apply(x, None)
    }

    fn apply<const D: usize>(&self, x: Tensor<D>, bias: Option<Tensor<1>>) -> Tensor<D> {
        let update = self.low_rank.as_ref().map(|low_rank| low_rank.forward(x.clone()));
        let outputs = match &self.weight {
            Weight::Tensor(weight) => module::linear(x, weight.clone(), bias),
            Weight::Packed(weight) => weight.linear(x, bias),
        };
        match update {
            Some(update) => outputs + update,
            None => outputs,
        }
    }

    /// Rounds the weights to bf16 and packs them if the products are in bf16.
    pub(crate) fn packed(self, products: Products) -> Self {
        match products.pack(&self.weight()) {
            Some(weight) => Self { weight: Weight::Packed(weight), ..self },
            None => self,
        }
    }

    /// The numbers of inputs and outputs.
    pub(crate) fn shape(&self) -> [usize; 2] {
        match &self.weight {
            Weight::Tensor(weight) => weight.dims(),
            Weight::Packed(weight) => weight.shape(),
        }
    }

    /// `[in, out]`, unpacked if they are packed.
    fn weight(&self) -> Tensor<2> {
        match &self.weight {
            Weight::Tensor(weight) => weight.clone(),
            Weight::Packed(weight) => weight.to_tensor(&Device::flex()),
        }
    }

    /// Concatenates layers of the same input; all or none must have a bias.
    pub(crate) fn concatenate(layers: Vec<Self>) -> Self {
        let biases: Option<Vec<_>> = layers.iter().map(|layer| layer.bias.clone()).collect();
        let weight = Tensor::cat(layers.iter().map(Self::weight).collect(), 1);
        Self::new(weight, biases.map(|biases| Tensor::cat(biases, 0)))
    }

    /// Scales every output, computed in `f32`.
    pub(crate) fn scaled(self, scale: Option<Tensor<1>>) -> Self {
        let Some(scale) = scale.map(|scale| scale.cast(DType::F32)) else { return self };
        let weight = self.weight().cast(DType::F32) * scale.clone().unsqueeze();
        Self::new(weight, self.bias.map(|bias| bias.cast(DType::F32) * scale))
    }

    /// Returns whether weights with this number of inputs can be [quantized](Self::quantized).
    pub(crate) fn is_quantizable(inputs: usize) -> bool {
        share_scale(inputs).is_some()
    }

    /// Rounds the weights to integers, with which nothing can be computed until they are [`dequantized`](Self::dequantized).
    ///
    /// One scale for 32 inputs of an output, because of outliers: embeddings of MiniLM keep a cosine of at least 0.9997, but
    /// of 0.9985 with one scale for all inputs.
    pub(crate) fn quantized(self, quantization: Quantization) -> Self {
        let (Quantization::Int8, Some(inputs)) = (quantization, share_scale(self.shape()[0])) else {
            return self;
        };
        let scheme = QuantScheme::default().with_value(QuantValue::Q8S).with_store(QuantStore::Native);
        let scheme = scheme.per_block([inputs, 1], ScaleDtype::F32);
        Self::new(self.weight().quantize_dynamic(&scheme), self.bias)
    }

    pub(crate) fn dequantized(&self, dtype: DType) -> Self {
        Self::new(self.weight().dequantize().cast(dtype), self.bias.clone())
    }

    pub(crate) fn cast(self, dtype: DType) -> Self {
        Self::new(self.weight().cast(dtype), self.bias.map(|bias| bias.cast(dtype)))
    }
}

/// Returns how many of the inputs of a layer share a scale.
fn share_scale(inputs: usize) -> Option<u8> {
    SHARE_SCALE.into_iter().find(|count| inputs.is_multiple_of(usize::from(*count)))
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn quantization_rounds_to_the_scale_of_the_inputs() {
        let (inputs, outputs) = (96, 5);
        let shape = [inputs, outputs];
        let weight = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        // Rows of very different size.
        let scale = Tensor::<1>::from_floats(
            [1.0, 100.0, 0.01].map(|x| [x; 32]).concat().as_slice(),
            &Device::flex(),
        );
        let weight = weight * scale.unsqueeze_dim(1);
        let linear = Linear::new(weight.clone(), None);
        let quantized = linear.quantized(Quantization::Int8);
        assert!(matches!(quantized.weight().dtype(), DType::QFloat(_)));
        let found: Vec<f32> = quantized.dequantized(DType::F32).weight().into_data().try_to_vec().unwrap();
        let exact: Vec<f32> = weight.into_data().try_to_vec().unwrap();
        for output in 0..outputs {
            for block in 0..inputs / 32 {
                let indices = || (32 * block..32 * (block + 1)).map(|input| input * outputs + output);
                let step = indices().fold(0.0_f32, |step, index| step.max(exact[index].abs())) / 127.0;
                for index in indices() {
                    let error = (found[index] - exact[index]).abs();
                    assert!(error <= 0.5001 * step, "{error} of a step of {step}");
                }
            }
        }
    }

    #[test]
    fn inputs_of_published_models_can_be_quantized() {
        for (inputs, expected) in [(768, Some(32)), (4304, Some(16)), (312, Some(8)), (25, None)] {
            assert_eq!(share_scale(inputs), expected);
        }
    }
}
