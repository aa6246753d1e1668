//! The two-layer perceptron.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use crate::{WeightInit, linear};
use sail_matmul::Products;

/// `W2 gelu(W1 x)` with the exact (erf) GELU, both layers with biases.
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Linear,
    output: Linear,
}

impl Mlp {
    /// Creates a perceptron of hidden width `expansion * d_input` (4 in the paper).
    pub fn new(d_input: usize, d_output: usize, expansion: usize, init: &mut WeightInit) -> Self {
        let width = expansion * d_input;
        Self { hidden: linear(d_input, width, init), output: linear(width, d_output, init) }
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
        products.linear(&self.output, gelu(products.linear(&self.hidden, x)))
    }
}
