//! The gated linear unit of SAIL, its main projector.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::{WeightInit, linear};

/// Bound on the ungated branch, from the reference: a runaway product stays finite.
const BOUND: f64 = 1e3;

/// `W3 (relu6(W1 x) * clamp(W2 x))`, clamped to ±1000; called "star" in the reference code
/// (arXiv 2412.04616, section 3).
///
/// The reference also clamps the gate to ±1000, which `relu6` makes idle.
#[derive(Module, Debug)]
pub struct Glu {
    gate: Linear,
    value: Linear,
    output: Linear,
}

impl Glu {
    /// A unit of hidden width `width * d_input` (8 in the paper).
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
        let gate = self.gate.forward(x.clone()).clamp(0.0, 6.0);
        let value = self.value.forward(x).clamp(-BOUND, BOUND);
        self.output.forward(gate * value)
    }
}
