//! Feed-forward networks.

use burn::tensor::{DType, Tensor};
use sail_core::LoraLayer;

use super::{Activation, Linear, Norm};
use crate::pretrained::Weights;
use crate::spec::FeedForwardSpec;

/// `down(norm(activation(up(x))))`, or `down(norm(activation(gate(x)) * up(x)))`.
#[derive(Debug, Clone)]
pub(crate) struct FeedForward {
    activation: Activation,
    first: First,
    norm: Option<Norm>,
    down: Linear,
}

#[derive(Debug, Clone)]
enum First {
    Plain(Linear),
    Gated {
        gate: Linear,
        up: Linear,
    },
    /// Gate, then up, of one matrix product.
    Fused(Linear),
}

impl FeedForward {
    /// Takes the tensors under `name`, see [`blocks`](super).
    pub(crate) fn load(weights: &mut Weights, name: &str, width: usize, spec: &FeedForwardSpec) -> Self {
        let mut linear =
            |part: &str, sizes, bias| Linear::load(weights, &format!("{name}.{part}"), sizes, bias);
        let up = linear("up", [width, spec.width], spec.bias_in);
        let first = if spec.gated {
            First::Gated { gate: linear("gate", [width, spec.width], spec.bias_in), up }
        } else {
            First::Plain(up)
        };
        let down = linear("down", [spec.width, width], spec.bias_out);
        let norm = spec.inner_norm.map(|norm| Norm::load(weights, &format!("{name}.norm"), spec.width, norm));
        Self { activation: spec.activation, first, norm, down }
    }

    /// # Shapes
    /// - x and result: `[rows, width]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let inner = match &self.first {
            First::Plain(up) => self.activation.linear(x, up),
            First::Gated { gate, up } => {
                let gate = self.activation.linear(x.clone(), gate);
                gate * up.forward(x)
            }
            First::Fused(both) => {
                let both = both.forward(x);
                let width = both.dims()[1] / 2;
                self.activation.apply(both.clone().narrow(1, 0, width)) * both.narrow(1, width, width)
            }
        };
        let inner = match &self.norm {
            Some(norm) => norm.forward(inner),
            None => inner,
        };
        self.down.forward(inner)
    }

    /// Replaces every linear layer, given with its name if it is one of the specification.
    pub(super) fn map_linears(self, f: &mut impl FnMut(Option<LoraLayer>, Linear) -> Linear) -> Self {
        let first = match self.first {
            First::Plain(up) => First::Plain(f(Some(LoraLayer::Up), up)),
            First::Gated { gate, up } => {
                First::Gated { gate: f(Some(LoraLayer::Gate), gate), up: f(Some(LoraLayer::Up), up) }
            }
            First::Fused(both) => First::Fused(f(None, both)),
        };
        Self { first, down: f(Some(LoraLayer::Down), self.down), ..self }
    }

    /// Computes gate and up by one matrix product, and folds `scale` into the last layer.
    pub(crate) fn fuse(self, scale: Option<Tensor<1>>, dtype: DType) -> Self {
        let first = match self.first {
            First::Plain(up) => First::Plain(up.cast(dtype)),
            First::Gated { gate, up } => {
                First::Fused(Linear::concatenate(vec![gate.cast(dtype), up.cast(dtype)]))
            }
            fused @ First::Fused(_) => fused,
        };
        let norm = self.norm.map(|norm| norm.cast(dtype));
        Self { activation: self.activation, first, norm, down: self.down.scaled(scale).cast(dtype) }
    }
}
