//! The last blocks of an encoder as a differentiable function of its adapters.

use std::fmt::Debug;

use burn::tensor::{Tensor, module};

use super::AdaptedLayer;
use crate::{Provenance, TowerError};

/// The adapter of one layer as tensors, `scale * x A B`.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// `A`, `[inputs, rank]`.
    pub a: Tensor<2>,
    /// `B`, `[rank, outputs]`.
    pub b: Tensor<2>,
    /// The factor, `alpha / rank`.
    pub scale: f64,
}

impl LowRank {
    /// Returns what the adapter adds to the outputs of its layer, `scale * x A B`.
    ///
    /// # Shapes
    /// - x: `[..., inputs]`
    /// - result: `[..., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::linear(module::linear(x, self.a.clone(), None), self.b.clone(), None) * self.scale
    }

    /// Returns what the adapter adds to the weights of its layer, `scale * A B`.
    ///
    /// # Shapes
    /// - result: `[inputs, outputs]`
    pub fn update(&self) -> Tensor<2> {
        self.a.clone().matmul(self.b.clone()) * self.scale
    }
}

/// The last blocks of a frozen encoder with what follows them: stored token states to pooled features. A head runs them in front
/// of a side, to train their adapters.
///
/// Rows are independent of each other, so a batch can be processed in micro-batches. The weights are no parameters of the head.
pub trait TokenBlocks: Debug + Send + Sync {
    /// Returns the number of values of a row of token states.
    fn row_values(&self) -> usize;

    /// Returns the dimension of the pooled features.
    fn dim(&self) -> usize;

    /// Returns the linear layers that can have an adapter, in the order of the encoder.
    fn layers(&self) -> Vec<AdaptedLayer>;

    /// Returns the provenance of the token states.
    fn provenance(&self) -> &Provenance;

    /// Returns the provenance of the pooled features without adapters.
    fn pooled_provenance(&self) -> Provenance;

    /// Computes pooled features. Gradients reach the adapters, and nothing else.
    ///
    /// # Shapes
    /// - states: `[batch, row_values]`, on any device
    /// - result: `[batch, dim]`, on the device of `states`
    ///
    /// # Errors
    /// Returns [`TowerError`] if a row has another number of values.
    fn forward(
        &self,
        states: Tensor<2>,
        adapters: &[(AdaptedLayer, LowRank)],
    ) -> Result<Tensor<2>, TowerError>;

    /// Returns an upper estimate of the values per row that the forward and backward passes keep in memory.
    fn activations(&self) -> usize;
}
