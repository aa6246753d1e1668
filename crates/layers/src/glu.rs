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
        let value = bounded(self.value.forward(x));
        self.output.forward(gate * value)
    }
}

/// `x` clamped to ±[`BOUND`], which as a rule is `x` itself.
///
/// On a CPU two looks at `x` cost less than the clamp, and far less than the four passes of its derivative. A
/// GPU would have to be waited for, so it clamps at once.
fn bounded(x: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if sail_support::cpu::is_cpu(&x.device()) {
        let numbers = x.clone().without_autodiff();
        let [least, largest] = [numbers.clone().min(), numbers.max()].map(|x| x.into_scalar::<f32>());
        // Not so for a NaN, which the clamp keeps.
        if f64::from(least) >= -BOUND && f64::from(largest) <= BOUND {
            return x;
        }
    }
    x.clamp(-BOUND, BOUND)
}
