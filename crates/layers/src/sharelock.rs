//! The text projector of ShareLock.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::{WeightInit, linear};

/// A deep perceptron: `layers` linear layers, each but the last followed by batch norm, ReLU and dropout
/// (Ruthardt et al. 2024, "Better Language Models Exhibit Higher Visual Alignment", arXiv 2410.07173).
///
/// ShareLock trains the text side only: combine it with an identity image side, so the output has the dimension of the
/// image features. Batch norm depends on the whole batch, so a step with this layer cannot be split into micro-batches.
#[derive(Module, Debug)]
pub struct ShareLock {
    hidden: Vec<ShareLockBlock>,
    output: Linear,
}

#[derive(Module, Debug)]
struct ShareLockBlock {
    linear: Linear,
    norm: BatchNorm,
    dropout: Dropout,
}

impl ShareLock {
    /// Creates a perceptron of `layers` linear layers (4 in the paper) of hidden width `hidden` (4096) with the given
    /// dropout probability (0.2).
    pub fn new(
        d_input: usize,
        d_output: usize,
        hidden: usize,
        layers: usize,
        dropout: f64,
        init: &mut WeightInit,
    ) -> Self {
        let blocks = (1..layers).map(|layer| ShareLockBlock {
            linear: linear(if layer == 1 { d_input } else { hidden }, hidden, init),
            norm: BatchNormConfig::new(hidden).init(init.device()),
            dropout: DropoutConfig::new(dropout).init(),
        });
        let blocks: Vec<_> = blocks.collect();
        let last_input = if blocks.is_empty() { d_input } else { hidden };
        Self { hidden: blocks, output: linear(last_input, d_output, init) }
    }

    /// Applies the layer. Batch norm and dropout are in training mode on an autodiff device and in inference mode
    /// otherwise.
    ///
    /// # Shapes
    /// - input: `[batch, d_input]`
    /// - output: `[batch, d_output]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.hidden.iter().fold(x, |x, block| {
            let x = relu(block.norm.forward(block.linear.forward(x)));
            block.dropout.forward(x)
        });
        self.output.forward(x)
    }
}
