//! The residual perceptron of FuseMix.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::gelu;
use burn::tensor::{FloatDType, Tensor};

use crate::cast::Cast;
use crate::{WeightInit, linear};
use sail_matmul::Products;

/// `depth` residual blocks `x + W2 dropout(gelu(W1 norm(x)))` of constant width, then a LayerNorm and a linear layer.
///
/// The fusion adapter of Vouitsis et al. 2024, "Data-Efficient Multimodal Fusion on a Single GPU" (arXiv 2312.10144), for
/// training on few pairs. Dropout is random for a batch as a whole, so a step with this layer cannot be split into
/// micro-batches.
#[derive(Module, Debug)]
pub struct ResidualMlp {
    blocks: Vec<ResidualBlock>,
    norm: LayerNorm,
    output: Linear,
    /// The dtype of the linear layers. Norms and the sums of the residual blocks are f32.
    #[module(skip)]
    dtype: FloatDType,
}

#[derive(Module, Debug)]
struct ResidualBlock {
    norm: LayerNorm,
    hidden: Linear,
    output: Linear,
    dropout: Dropout,
}

impl ResidualMlp {
    /// Creates a perceptron of `depth` blocks (4 in the paper) of hidden width `expansion * d_input` (4) with the given
    /// dropout probability (0.6).
    pub fn new(
        d_input: usize,
        d_output: usize,
        expansion: usize,
        depth: usize,
        dropout: f64,
        init: &mut WeightInit,
    ) -> Self {
        let width = expansion * d_input;
        let blocks = (0..depth).map(|_| ResidualBlock {
            norm: LayerNormConfig::new(d_input).init(init.device()),
            hidden: linear(d_input, width, init),
            output: linear(width, d_input, init),
            dropout: DropoutConfig::new(dropout).init(),
        });
        Self {
            blocks: blocks.collect(),
            norm: LayerNormConfig::new(d_input).init(init.device()),
            output: linear(d_input, d_output, init),
            dtype: FloatDType::F32,
        }
    }

    /// Applies the layer. Dropout is active on an autodiff device only.
    ///
    /// # Shapes
    /// - input: `[batch, d_input]`
    /// - output: `[batch, d_output]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_with(x, Products::default())
    }

    pub(crate) fn forward_with(&self, x: Tensor<2>, products: Products) -> Tensor<2> {
        let x = self.blocks.iter().fold(x, |x, block| {
            let normalized = block.norm.forward(x.clone()).cast(self.dtype);
            let hidden = gelu(products.linear(&block.hidden, normalized));
            x + products.linear(&block.output, block.dropout.forward(hidden)).cast(FloatDType::F32)
        });
        products.linear(&self.output, self.norm.forward(x).cast(self.dtype)).cast(FloatDType::F32)
    }

    /// Returns a copy whose linear layers compute in `dtype`.
    pub(crate) fn computing_in(&self, dtype: FloatDType) -> Self {
        let mut copy = self.clone();
        for block in &mut copy.blocks {
            block.hidden = block.hidden.clone().map(&mut Cast(dtype));
            block.output = block.output.clone().map(&mut Cast(dtype));
        }
        copy.output = copy.output.map(&mut Cast(dtype));
        copy.dtype = dtype;
        copy
    }
}
