//! The layers of a side, selected by configuration.

use burn::module::Module;
use burn::nn::{Identity, Linear};
use burn::tensor::Tensor;
use sail_core::{Check, ConfigError, Side, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    GateActivation, GatedMlp, Mlp, ResidualMlp, ShareLock, SideConfig, TokenProjector, TokenTransformer,
    WeightInit, WeightedCosine, linear, tokens,
};
use sail_matmul::Products;

/// Deeper residual perceptrons and transformers are assumed to come from an invalid file.
const MAX_DEPTH: usize = 256;

/// The layer of one side of a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum ProjectorConfig {
    /// The unchanged features, which must have the head's embedding dimension.
    Identity {},
    /// A linear layer, as in alignment probing.
    Linear {},
    /// A perceptron with one hidden layer.
    Mlp {
        /// Hidden width as a multiple of the input; 4 in the paper.
        expansion: usize,
    },
    /// SAIL's gated perceptron, with ReLU6.
    Glu {
        /// Hidden width as a multiple of the input; 8 in the paper.
        width: usize,
    },
    /// The gated perceptron with SiLU.
    SwiGlu {
        /// Hidden width as a multiple of the input.
        width: usize,
    },
    /// The residual perceptron of FuseMix.
    #[serde(rename = "residual-mlp")]
    ResidualMlp {
        /// Hidden width of a block as a multiple of the input; 4 in its paper.
        expansion: usize,
        /// Number of blocks; 4 in its paper.
        depth: usize,
        /// Dropout probability, 0 to 1; 0.6 in its paper.
        dropout: f64,
    },
    /// The deep perceptron of ShareLock.
    ShareLock {
        /// Hidden width; 4096 in its paper.
        hidden: usize,
        /// Number of linear layers; 4 in its paper.
        layers: usize,
        /// Dropout probability, 0 to 1; 0.2 in its paper.
        dropout: f64,
    },
    /// A linear layer whose outputs are weighted in the cosine: the layer of CSA. The other side of the head must have one too.
    #[serde(rename = "weighted-cosine")]
    WeightedCosine {
        /// The side of the head that the layer is on.
        side: Side,
    },
    /// The token projector of Freeze-Align, for rows of token states ([`SideConfig::tokens`]).
    Token {},
    /// The transformer blocks of dino.txt, for rows of token states.
    #[serde(rename = "token-transformer")]
    TokenTransformer {
        /// Number of blocks; 2 in its paper.
        depth: usize,
        /// Width of an attention head, a divisor of the dimension of a token; 64 in vision transformers.
        head_width: usize,
    },
}

impl ProjectorConfig {
    /// The perceptron with the hidden width of SAIL's paper.
    pub const MLP: Self = Self::Mlp { expansion: 4 };
    /// SAIL's gated perceptron with the width of the paper.
    pub const GLU: Self = Self::Glu { width: 8 };
    /// The residual perceptron with the sizes of FuseMix's paper.
    pub const RESIDUAL_MLP: Self = Self::ResidualMlp { expansion: 4, depth: 4, dropout: 0.6 };
    /// The perceptron of ShareLock with the sizes of its paper.
    pub const SHARELOCK: Self = Self::ShareLock { hidden: 4096, layers: 4, dropout: 0.2 };
    /// The transformer blocks of dino.txt with the sizes of its paper.
    pub const TOKEN_TRANSFORMER: Self = Self::TokenTransformer { depth: 2, head_width: 64 };

    /// Returns the value of `kind` in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identity {} => "identity",
            Self::Linear {} => "linear",
            Self::Mlp { .. } => "mlp",
            Self::Glu { .. } => "glu",
            Self::SwiGlu { .. } => "swiglu",
            Self::ResidualMlp { .. } => "residual-mlp",
            Self::ShareLock { .. } => "sharelock",
            Self::WeightedCosine { .. } => "weighted-cosine",
            Self::Token {} => "token",
            Self::TokenTransformer { .. } => "token-transformer",
        }
    }

    /// Returns whether the layer takes rows of token states instead of pooled features.
    pub fn takes_tokens(&self) -> bool {
        matches!(self, Self::Token {} | Self::TokenTransformer { .. })
    }

    /// Estimates the values held per row in training; see `AlignmentHead::activations`. The factors count the tensors of
    /// each width that the graph keeps and that the backward pass adds.
    pub(crate) fn activations(side: &SideConfig, d_output: usize) -> usize {
        let d_input = side.projected();
        let ends = d_input + 2 * d_output;
        match side.projector {
            Self::Identity {} => 0,
            Self::Linear {} => ends,
            Self::Mlp { expansion } => ends + 8 * expansion * d_input,
            Self::Glu { width } | Self::SwiGlu { width } => ends + 6 * width * d_input,
            // Norm, residual sum, and the hidden layer with its mask.
            Self::ResidualMlp { expansion, depth, .. } => {
                ends + 6 * d_input + depth * (8 + 12 * expansion) * d_input
            }
            Self::ShareLock { hidden, layers, .. } => ends + 12 * hidden * layers,
            Self::WeightedCosine { .. } => ends + 8 * d_output,
            // The hidden layer of each token, and the patches without the class token.
            Self::Token {} => ends + d_input + 8 * (d_input / side.width() + 1) * d_output,
            // Of each token norms, projections, residual sums and the hidden layer; of each pair of tokens the attention.
            Self::TokenTransformer { depth, head_width } => {
                let attention = 8 * (d_input / side.width()).pow(2) * (side.width() / head_width.max(1));
                ends + 8 * d_input + depth * (70 * d_input + attention)
            }
        }
    }

    /// Builds the layer of a side with a valid configuration.
    pub(crate) fn init(side: &SideConfig, d_output: usize, init: &mut WeightInit) -> Projector {
        let (d_input, class_token) = (side.width(), side.has_class_token());
        match side.projector {
            Self::Identity {} => Projector::Identity(Identity),
            Self::Linear {} => Projector::Linear(linear(d_input, d_output, init)),
            Self::Mlp { expansion } => Projector::Mlp(Mlp::new(d_input, d_output, expansion, init)),
            Self::Glu { width } => {
                Projector::Glu(GatedMlp::new(d_input, d_output, width, GateActivation::Relu6, init))
            }
            Self::SwiGlu { width } => {
                Projector::SwiGlu(GatedMlp::new(d_input, d_output, width, GateActivation::Silu, init))
            }
            Self::ResidualMlp { expansion, depth, dropout } => {
                Projector::ResidualMlp(ResidualMlp::new(d_input, d_output, expansion, depth, dropout, init))
            }
            Self::ShareLock { hidden, layers, dropout } => {
                Projector::ShareLock(ShareLock::new(d_input, d_output, hidden, layers, dropout, init))
            }
            Self::WeightedCosine { side } => {
                Projector::WeightedCosine(WeightedCosine::new(d_input, d_output, side, init))
            }
            Self::Token {} => Projector::Token(TokenProjector::new(d_input, class_token, d_output, init)),
            Self::TokenTransformer { depth, head_width } => Projector::TokenTransformer(
                TokenTransformer::new(d_input, class_token, d_output, depth, head_width, init),
            ),
        }
    }
}

impl Check for ProjectorConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let positive = |field, value: usize| ensure(value > 0, field, value, "at least 1");
        match *self {
            Self::Identity {} | Self::Linear {} | Self::WeightedCosine { .. } | Self::Token {} => Ok(()),
            Self::Mlp { expansion } => positive("expansion", expansion),
            Self::Glu { width } | Self::SwiGlu { width } => positive("width", width),
            Self::ResidualMlp { expansion, depth, dropout } => {
                positive("expansion", expansion)?;
                check_depth(depth)?;
                check_dropout(dropout)
            }
            Self::ShareLock { hidden, layers, dropout } => {
                positive("hidden", hidden)?;
                positive("layers", layers)?;
                check_dropout(dropout)
            }
            Self::TokenTransformer { depth, head_width } => {
                check_depth(depth)?;
                positive("head_width", head_width)
            }
        }
    }
}

fn check_depth(depth: usize) -> Result<(), ConfigError> {
    ensure((1..=MAX_DEPTH).contains(&depth), "depth", depth, format!("1 to {MAX_DEPTH}"))
}

fn check_dropout(dropout: f64) -> Result<(), ConfigError> {
    ensure((0.0..1.0).contains(&dropout), "dropout", dropout, "at least 0 and less than 1")
}

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
