//! The gated linear unit of recent language models.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::silu;
use burn::tensor::{FloatDType, Tensor};

use crate::{WeightInit, linear};

/// `W3 (silu(W1 x) * W2 x)` (Shazeer, arXiv 2002.05202), with biases.
#[derive(Module, Debug)]
pub struct SwiGlu {
    gate: Linear,
    value: Linear,
    output: Linear,
}

impl SwiGlu {
    /// A unit of hidden width `width * d_input`.
    pub fn new(d_input: usize, d_output: usize, width: usize, init: &mut WeightInit) -> Self {
        let hidden = width * d_input;
        Self {
            gate: linear(d_input, hidden, init),
            value: linear(d_input, hidden, init),
            output: linear(hidden, d_output, init),
        }
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[batch, d_input]`
    /// - output: `[batch, d_output]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = self.gate.forward(x.clone());
        // Exponentials leave the range of f16; in f32 these casts are nothing.
        let dtype = FloatDType::from(gate.dtype());
        let gate = silu(gate.cast(FloatDType::F32)).cast(dtype);
        self.output.forward(gate * self.value.forward(x))
    }
}
