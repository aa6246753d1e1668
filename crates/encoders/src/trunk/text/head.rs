//! Heads of text models.

use burn::tensor::Tensor;

use super::latent::Latent;
use crate::blocks::Linear;
use crate::pretrained::Weights;
use crate::spec::TextHead;

/// What comes after the blocks.
#[derive(Debug)]
pub(super) enum Head {
    /// The state of one token, projected if there is a projection.
    Token(Option<Linear>),
    /// Attention of all tokens to learned latents.
    Latent(Latent),
}

impl Head {
    pub(super) fn load(weights: &mut Weights, width: usize, spec: TextHead) -> Self {
        match spec {
            TextHead::Token { projection, bias, .. } => Self::Token(projection.map(|output| {
                let dtype = weights.dtype();
                Linear::load(weights, "projection", [width, output], bias).cast(dtype)
            })),
            TextHead::Latent(spec) => Self::Latent(Latent::load(weights, width, spec)),
        }
    }

    /// Returns the states of all tokens, and the pooled output of the state of the pooled token.
    ///
    /// # Shapes
    /// - states: `[tokens, width]`, pooled: `[batch, width]`
    pub(super) fn forward(
        &self,
        states: Tensor<2>,
        pooled: Option<Tensor<2>>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        match self {
            Self::Token(None) => (states, pooled),
            Self::Token(Some(projection)) => (states, pooled.map(|pooled| projection.forward(pooled))),
            Self::Latent(latent) => (latent.forward(states), None),
        }
    }
}
