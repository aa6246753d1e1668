//! The gated perceptron: SAIL's GLU and SwiGLU.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::silu;
use burn::tensor::{FloatDType, Tensor};

use crate::gate::gated;
use crate::{WeightInit, linear};
use sail_matmul::Products;

/// The activation of a [`GatedMlp`]'s gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateActivation {
    /// `min(max(x, 0), 6)`, with the values clamped to ±1000: the GLU of SAIL (arXiv 2412.04616, section 3), called
    /// "star" in its published code.
    Relu6,
    /// `x sigmoid(x)`: SwiGLU (Shazeer 2020, arXiv 2002.05202).
    Silu,
}

/// A gated perceptron: `W3 (activation(W1 x) * W2 x)`, with biases.
///
/// SAIL's published code also clamps the gate to ±1000, which ReLU6 makes redundant.
#[derive(Module, Debug)]
pub struct GatedMlp {
    gate: Linear,
    value: Linear,
    output: Linear,
    #[module(skip)]
    activation: GateActivation,
}

impl GatedMlp {
    /// Creates a perceptron of hidden width `width * d_input` (8 in the paper).
    pub fn new(
        d_input: usize,
        d_output: usize,
        width: usize,
        activation: GateActivation,
        init: &mut WeightInit,
    ) -> Self {
        let hidden = width * d_input;
        Self {
            gate: linear(d_input, hidden, init),
            value: linear(d_input, hidden, init),
            output: linear(hidden, d_output, init),
            activation,
        }
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[batch, d_input]`
    /// - output: `[batch, d_output]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_with(x, Products::default())
    }

    pub(crate) fn forward_with(&self, x: Tensor<2>, products: Products) -> Tensor<2> {
        let gate = products.linear(&self.gate, x.clone());
        let value = products.linear(&self.value, x);
        let hidden = match self.activation {
            GateActivation::Relu6 => gated(gate, value),
            GateActivation::Silu => {
                // The exponential leaves the range of f16. In f32 these casts do nothing.
                let dtype = FloatDType::from(gate.dtype());
                silu(gate.cast(FloatDType::F32)).cast(dtype) * value
            }
        };
        products.linear(&self.output, hidden)
    }
}
