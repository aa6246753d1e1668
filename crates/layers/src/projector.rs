//! The layers of a side, selected by configuration.

use burn::module::Module;
use burn::nn::{Identity, Linear};
use burn::tensor::Tensor;

use crate::{
    GateActivation, GatedMlp, Mlp, ProjectorConfig, ResidualMlp, ShareLock, SideConfig, TokenProjector,
    TokenTransformer, WeightInit, WeightedCosine, linear, tokens,
};
use sail_matmul::Products;

/// A layer that maps the features of one backbone into the shared embedding space.
///
/// Checkpoints of training contain the names of the variants.
#[derive(Module, Debug)]
// A head holds only two of them, so boxing would gain nothing.
#[allow(clippy::large_enum_variant)]
pub enum Projector {
    /// See [`ProjectorConfig::Identity`].
    Identity(Identity),
    /// See [`ProjectorConfig::Linear`].
    Linear(Linear),
    /// See [`ProjectorConfig::Mlp`].
    Mlp(Mlp),
    /// See [`ProjectorConfig::Glu`].
    Glu(GatedMlp),
    /// See [`ProjectorConfig::SwiGlu`].
    SwiGlu(GatedMlp),
    /// See [`ProjectorConfig::ResidualMlp`].
    ResidualMlp(ResidualMlp),
    /// See [`ProjectorConfig::ShareLock`].
    ShareLock(ShareLock),
    /// See [`ProjectorConfig::WeightedCosine`].
    WeightedCosine(WeightedCosine),
    /// See [`ProjectorConfig::Token`].
    Token(TokenProjector),
    /// See [`ProjectorConfig::TokenTransformer`].
    TokenTransformer(TokenTransformer),
}

impl Projector {
    /// Builds the layer of a side with a valid configuration.
    pub(crate) fn new(side: &SideConfig, d_output: usize, init: &mut WeightInit) -> Self {
        let (d_input, class_token) = (side.width(), side.has_class_token());
        match side.projector {
            ProjectorConfig::Identity {} => Self::Identity(Identity),
            ProjectorConfig::Linear {} => Self::Linear(linear(d_input, d_output, init)),
            ProjectorConfig::Mlp { expansion } => Self::Mlp(Mlp::new(d_input, d_output, expansion, init)),
            ProjectorConfig::Glu { width } => {
                Self::Glu(GatedMlp::new(d_input, d_output, width, GateActivation::Relu6, init))
            }
            ProjectorConfig::SwiGlu { width } => {
                Self::SwiGlu(GatedMlp::new(d_input, d_output, width, GateActivation::Silu, init))
            }
            ProjectorConfig::ResidualMlp { expansion, depth, dropout } => {
                Self::ResidualMlp(ResidualMlp::new(d_input, d_output, expansion, depth, dropout, init))
            }
            ProjectorConfig::ShareLock { hidden, layers, dropout } => {
                Self::ShareLock(ShareLock::new(d_input, d_output, hidden, layers, dropout, init))
            }
            ProjectorConfig::WeightedCosine { side } => {
                Self::WeightedCosine(WeightedCosine::new(d_input, d_output, side, init))
            }
            ProjectorConfig::Token {} => {
                Self::Token(TokenProjector::new(d_input, class_token, d_output, init))
            }
            ProjectorConfig::TokenTransformer { depth, head_width } => Self::TokenTransformer(
                TokenTransformer::new(d_input, class_token, d_output, depth, head_width, init),
            ),
        }
    }

    /// Estimates the values held per row in training; see `AlignmentHead::activations`. The factors count the tensors of
    /// each width that the graph keeps and that the backward pass adds.
    pub(crate) fn activations(side: &SideConfig, d_output: usize) -> usize {
        let d_input = side.projected();
        let ends = d_input + 2 * d_output;
        match side.projector {
            ProjectorConfig::Identity {} => 0,
            ProjectorConfig::Linear {} => ends,
            ProjectorConfig::Mlp { expansion } => ends + 8 * expansion * d_input,
            ProjectorConfig::Glu { width } | ProjectorConfig::SwiGlu { width } => ends + 6 * width * d_input,
            // Norm, residual sum, and the hidden layer with its mask.
            ProjectorConfig::ResidualMlp { expansion, depth, .. } => {
                ends + 6 * d_input + depth * (8 + 12 * expansion) * d_input
            }
            ProjectorConfig::ShareLock { hidden, layers, .. } => ends + 12 * hidden * layers,
            ProjectorConfig::WeightedCosine { .. } => ends + 8 * d_output,
            // The hidden layer of each token, and the patches without the class token.
            ProjectorConfig::Token {} => ends + d_input + 8 * (d_input / side.width() + 1) * d_output,
            // Of each token norms, projections, residual sums and the hidden layer; of each pair of tokens the attention.
            ProjectorConfig::TokenTransformer { depth, head_width } => {
                let attention = 8 * (d_input / side.width()).pow(2) * (side.width() / head_width.max(1));
                ends + 8 * d_input + depth * (70 * d_input + attention)
            }
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
        match self {
            Self::Identity(layer) => layer.forward(x),
            Self::Linear(layer) => products.linear(layer, x),
            Self::Mlp(layer) => layer.forward_with(x, products),
            Self::Glu(layer) | Self::SwiGlu(layer) => layer.forward_with(x, products),
            Self::ResidualMlp(layer) => layer.forward_with(x, products),
            Self::ShareLock(layer) => layer.forward(x),
            Self::WeightedCosine(layer) => layer.forward(x),
            Self::Token(layer) => layer.forward_with(x, products),
            Self::TokenTransformer(layer) => layer.forward_with(x, products),
        }
    }

    /// Projects patches; see [`sail_core::AlignmentHead::project_patches`].
    pub(crate) fn patches_with(&self, tokens: Tensor<3>, products: Products) -> Tensor<3> {
        match self {
            Self::Token(layer) => layer.patches_with(tokens, products),
            Self::TokenTransformer(layer) => layer.patches_with(tokens, products),
            layer => tokens::each(tokens, |x| layer.forward_with(x, products)),
        }
    }
}
