//! The token projector of Freeze-Align.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use crate::{WeightInit, linear, tokens};
use sail_matmul::Products;

/// Projects the patches and the class token of an image, each with a layer of their own, and adds the mean of the projected
/// patches to the projected class token:
///
/// ```text
/// P(x) = W x + W2 gelu(W1 x)        y = mean_i P_patches(patch_i) + P_class(class)
/// ```
///
/// All linear layers have biases, and the hidden width is that of the output. The image side of Freeze-Align (Maniparambil
/// et al. 2025, "Harnessing Frozen Unimodal Encoders for Flexible Multimodal Alignment", arXiv 2409.19425), without its
/// dropout of 0.1, so that a step can be divided into micro-batches. The LayerNorm in front of it is that of the
/// [side](crate::SideConfig), which is applied to each token.
#[derive(Module, Debug)]
pub struct TokenProjector {
    class: Option<TokenLayer>,
    patches: TokenLayer,
    #[module(skip)]
    dim: usize,
}

/// `W x + W2 gelu(W1 x)` of each token.
#[derive(Module, Debug)]
struct TokenLayer {
    linear: Linear,
    hidden: Linear,
    output: Linear,
}

impl TokenLayer {
    fn new(dim: usize, d_output: usize, init: &mut WeightInit) -> Self {
        Self {
            linear: linear(dim, d_output, init),
            hidden: linear(dim, d_output, init),
            output: linear(d_output, d_output, init),
        }
    }

    fn hidden(&self, x: Tensor<2>, products: Products) -> Tensor<2> {
        gelu(products.linear(&self.hidden, x))
    }

    fn forward(&self, x: Tensor<2>, products: Products) -> Tensor<2> {
        let hidden = self.hidden(x.clone(), products);
        products.linear(&self.linear, x) + products.linear(&self.output, hidden)
    }

    /// The mean of the projected tokens. A mean commutes with a linear layer, so only the hidden layer sees each token.
    fn mean(&self, x: Tensor<3>, products: Products) -> Tensor<2> {
        let hidden = tokens::each(x.clone(), |x| self.hidden(x, products));
        products.linear(&self.linear, tokens::mean(x)) + products.linear(&self.output, tokens::mean(hidden))
    }
}

impl TokenProjector {
    /// Creates a projector of tokens of dimension `dim`, of which the first is a class token if `class_token` says so.
    pub fn new(dim: usize, class_token: bool, d_output: usize, init: &mut WeightInit) -> Self {
        let patches = TokenLayer::new(dim, d_output, init);
        Self { class: class_token.then(|| TokenLayer::new(dim, d_output, init)), patches, dim }
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
        let (class, patches) = tokens::split(tokens::of_rows(x, self.dim), self.class.is_some());
        let mean = self.patches.mean(patches, products);
        match self.class.as_ref().zip(class) {
            Some((layer, class)) => mean + layer.forward(class, products),
            None => mean,
        }
    }

    /// The embeddings of the patches: those of images in which each patch is all patches. As with class token and patch mean,
    /// concatenated, the class token takes part, because the two projections were trained as a sum.
    ///
    /// # Shapes
    /// - tokens: `[batch, tokens, dim]`
    /// - output: `[batch, patches, d_output]`
    pub(crate) fn patches_with(&self, tokens: Tensor<3>, products: Products) -> Tensor<3> {
        let (class, patches) = tokens::split(tokens, self.class.is_some());
        let patches = tokens::each(patches, |x| self.patches.forward(x, products));
        match self.class.as_ref().zip(class) {
            Some((layer, class)) => patches + layer.forward(class, products).unsqueeze_dim(1),
            None => patches,
        }
    }
}
