//! Any of the layers, chosen by a configuration.

use burn::module::Module;
use burn::nn::{Identity, Linear};
use burn::tensor::Tensor;
use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

use crate::{Glu, Mlp, ShareLock, SwiGlu, WeightInit, linear};

/// Which layer a side of the head uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum ProjectorConfig {
    /// The features as they are; the side's input must have the head's dimension.
    Identity {},
    /// One linear layer, for probing.
    Linear {},
    /// A perceptron with one hidden layer.
    Mlp {
        /// Hidden width as a multiple of the input; 4 in the paper.
        expansion: usize,
    },
    /// The gated unit of SAIL.
    Glu {
        /// Hidden width as a multiple of the input; 8 in the paper.
        width: usize,
    },
    /// The gated unit with SiLU.
    SwiGlu {
        /// Hidden width as a multiple of the input.
        width: usize,
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
}

impl ProjectorConfig {
    /// The perceptron with the paper's hidden width.
    pub const MLP: Self = Self::Mlp { expansion: 4 };
    /// The gated unit with the paper's width.
    pub const GLU: Self = Self::Glu { width: 8 };
    /// ShareLock's layer with its paper's sizes.
    pub const SHARELOCK: Self = Self::ShareLock { hidden: 4096, layers: 4, dropout: 0.2 };

    /// The name of the layer, as it is spelled in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identity {} => "identity",
            Self::Linear {} => "linear",
            Self::Mlp { .. } => "mlp",
            Self::Glu { .. } => "glu",
            Self::SwiGlu { .. } => "swiglu",
            Self::ShareLock { .. } => "sharelock",
        }
    }

    /// About how many numbers a row leaves behind in training; see `AlignmentHead::activations`. The factors are
    /// counts of the tensors of each width that the graph keeps and that its way back adds.
    pub(crate) fn activations(&self, d_input: usize, d_output: usize) -> usize {
        let ends = d_input + 2 * d_output;
        match *self {
            Self::Identity {} => 0,
            Self::Linear {} => ends,
            Self::Mlp { expansion } => ends + 8 * expansion * d_input,
            Self::Glu { width } | Self::SwiGlu { width } => ends + 6 * width * d_input,
            Self::ShareLock { hidden, layers, .. } => ends + 12 * hidden * layers,
        }
    }

    /// Builds the layer. Callers check the configuration first; the head does.
    pub(crate) fn init(&self, d_input: usize, d_output: usize, init: &mut WeightInit) -> Projector {
        match *self {
            Self::Identity {} => Projector::Identity(Identity),
            Self::Linear {} => Projector::Linear(linear(d_input, d_output, init)),
            Self::Mlp { expansion } => Projector::Mlp(Mlp::new(d_input, d_output, expansion, init)),
            Self::Glu { width } => Projector::Glu(Glu::new(d_input, d_output, width, init)),
            Self::SwiGlu { width } => Projector::SwiGlu(SwiGlu::new(d_input, d_output, width, init)),
            Self::ShareLock { hidden, layers, dropout } => {
                Projector::ShareLock(ShareLock::new(d_input, d_output, hidden, layers, dropout, init))
            }
        }
    }
}

impl Check for ProjectorConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let positive = |field, value: usize| ensure(value > 0, field, value, "at least 1");
        match *self {
            Self::Identity {} | Self::Linear {} => Ok(()),
            Self::Mlp { expansion } => positive("expansion", expansion),
            Self::Glu { width } | Self::SwiGlu { width } => positive("width", width),
            Self::ShareLock { hidden, layers, dropout } => {
                positive("hidden", hidden)?;
                positive("layers", layers)?;
                ensure((0.0..1.0).contains(&dropout), "dropout", dropout, "at least 0 and less than 1")
            }
        }
    }
}

/// A layer that maps one backbone's features into the shared space.
#[derive(Module, Debug)]
// The sizes differ, but a head holds two of them in all, so boxing would buy nothing.
#[allow(clippy::large_enum_variant)]
pub enum Projector {
    /// See [`ProjectorConfig::Identity`].
    Identity(Identity),
    /// See [`ProjectorConfig::Linear`].
    Linear(Linear),
    /// See [`ProjectorConfig::Mlp`].
    Mlp(Mlp),
    /// See [`ProjectorConfig::Glu`].
    Glu(Glu),
    /// See [`ProjectorConfig::SwiGlu`].
    SwiGlu(SwiGlu),
    /// See [`ProjectorConfig::ShareLock`].
    ShareLock(ShareLock),
}

impl Projector {
    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[batch, d_input]`
    /// - output: `[batch, d_output]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Identity(layer) => layer.forward(x),
            Self::Linear(layer) => layer.forward(x),
            Self::Mlp(layer) => layer.forward(x),
            Self::Glu(layer) => layer.forward(x),
            Self::SwiGlu(layer) => layer.forward(x),
            Self::ShareLock(layer) => layer.forward(x),
        }
    }
}
