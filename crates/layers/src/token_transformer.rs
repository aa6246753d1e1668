//! The vision head of dino.txt.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{FloatDType, Tensor};

use crate::cast::Cast;
use crate::token_block::{EPSILON, TokenBlock};
use crate::{WeightInit, linear, tokens};
use sail_matmul::Products;

/// Transformer blocks over the tokens of an image and a LayerNorm, then a linear layer of the class token and the mean of the
/// patches:
///
/// ```text
/// [c; p_1; ...] = norm(blocks([class; patch_1; ...]))        y = W [c; mean_i p_i]
/// ```
///
/// The two halves of `W`, without a bias, are the layers `class` and `patches`; the latter is also what projects single
/// patches. The blocks are those of DINOv2, with learned scales and an MLP of four times the width. The vision head of
/// dino.txt (Jose et al. 2025, "DINOv2 Meets Text", arXiv 2412.16334), which has two blocks, without its stochastic depth, so
/// that a step can be divided into micro-batches. Blocks have no positions, so images can have any number of patches.
#[derive(Module, Debug)]
pub struct TokenTransformer {
    blocks: Vec<TokenBlock>,
    norm: LayerNorm,
    class: Option<Linear>,
    patches: Linear,
    #[module(skip)]
    dim: usize,
    /// The dtype of the linear layers.
    #[module(skip)]
    dtype: FloatDType,
}

impl TokenTransformer {
    /// Creates `depth` blocks (2 in the paper) with attention heads of width `head_width` (64), a divisor of `dim`, the
    /// dimension of the tokens. The first token is a class token if `class_token` says so.
    pub fn new(
        dim: usize,
        class_token: bool,
        d_output: usize,
        depth: usize,
        head_width: usize,
        init: &mut WeightInit,
    ) -> Self {
        let heads = dim / head_width.max(1);
        let blocks = (0..depth).map(|_| TokenBlock::new(dim, heads, init)).collect();
        let mut half = || Linear { bias: None, ..linear(dim, d_output, init) };
        let (patches, class) = (half(), class_token.then(half));
        let norm = LayerNormConfig::new(dim).with_epsilon(EPSILON).init(init.device());
        Self { blocks, norm, class, patches, dim, dtype: FloatDType::F32 }
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[batch, tokens * dim]`, with at least one patch
    /// - output: `[batch, d_output]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_with(x, Products::default())
    }

    pub(crate) fn forward_with(&self, x: Tensor<2>, products: Products) -> Tensor<2> {
        let (class, patches) = self.blocks(tokens::of_rows(x, self.dim), products);
        let linear = |layer, x: Tensor<2>| products.linear(layer, x.cast(self.dtype)).cast(FloatDType::F32);
        let mean = linear(&self.patches, tokens::mean(patches));
        match self.class.as_ref().zip(class) {
            Some((layer, class)) => mean + linear(layer, class),
            None => mean,
        }
    }

    /// Projects the patches alone with their half of the linear layer. In the blocks they see the class token.
    ///
    /// # Shapes
    /// - tokens: `[batch, tokens, dim]`
    /// - output: `[batch, patches, d_output]`
    pub(crate) fn patches_with(&self, tokens: Tensor<3>, products: Products) -> Tensor<3> {
        let (_, patches) = self.blocks(tokens, products);
        let project = |x: Tensor<2>| products.linear(&self.patches, x.cast(self.dtype));
        tokens::each(patches, project).cast(FloatDType::F32)
    }

    /// The class token and the patches after blocks and norm.
    fn blocks(&self, x: Tensor<3>, products: Products) -> (Option<Tensor<2>>, Tensor<3>) {
        let x = self.blocks.iter().fold(x, |x, block| block.forward_with(x, products));
        tokens::split(self.norm.forward(x), self.class.is_some())
    }

    /// Returns a copy whose linear layers and attention compute in `dtype`.
    pub(crate) fn computing_in(&self, dtype: FloatDType) -> Self {
        let layer = self.clone();
        Self {
            blocks: layer.blocks.iter().map(|block| block.computing_in(dtype)).collect(),
            class: layer.class.map(|class| class.map(&mut Cast(dtype))),
            patches: layer.patches.map(&mut Cast(dtype)),
            dtype,
            ..layer
        }
    }
}
