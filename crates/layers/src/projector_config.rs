//! The choice of the layers of a side.

use sail_core::{Check, ConfigError, Side, ensure};
use serde::{Deserialize, Serialize};

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
    /// The token projector of Freeze-Align, for rows of token states ([`SideConfig::tokens`](crate::SideConfig::tokens)).
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
