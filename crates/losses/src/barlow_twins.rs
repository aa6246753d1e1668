//! Barlow Twins.

use burn::tensor::Tensor;
use sail_core::{ContrastiveLoss, EmbeddingBatch, LossError};

use crate::diagonal::{diagonal, with_diagonal};

/// Added to a column's variance. Components of unit vectors have variances near `1 / dim`, so it has to be far smaller
/// than the usual 1e-5 of a batch norm.
const EPSILON: f64 = 1e-8;

/// Barlow Twins: drives the cross-correlation of image and text dimensions over the batch towards the identity.
///
/// With `A` and `B` the images and texts, every column standardised over the batch, and `C` their cross-correlation,
///
/// ```text
/// A, B = (x - mean) / sqrt(variance + 1e-8)     variance: biased (divided by batch)
/// C    = A^T B / batch
/// loss = sum_i (1 - C_ii)^2 + lambda * sum_{i != j} C_ij^2
/// ```
///
/// With several caption sets it is the mean over the sets. Scale and bias of the batch are not used. There are no
/// in-batch negatives: rows interact only through batch statistics, so the batch should be large.
///
/// From Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction"
/// (arXiv 2103.03230).
///
/// # Shapes
/// - images and each caption set: `[batch, dim]`, `batch` at least 2
/// - value: `[1]`
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::{ContrastiveLoss, EmbeddingBatch};
/// use sail_losses::BarlowTwinsLoss;
///
/// let device = Device::flex();
/// let embeddings = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let batch = EmbeddingBatch {
///     images: embeddings.clone(),
///     texts: vec![embeddings],
///     log_scale: Tensor::zeros([1], &device),
///     bias: Tensor::zeros([1], &device),
///     groups: None,
/// };
/// // Each column correlates with itself and anticorrelates with the other: C = [[1, -1], [-1, 1]].
/// let loss = BarlowTwinsLoss::new().forward(batch)?.into_scalar::<f32>();
/// assert!((loss - 2.0 * 5e-3).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BarlowTwinsLoss {
    lambda: f64,
}

impl BarlowTwinsLoss {
    /// The paper's weight of the off-diagonal term, 5e-3.
    pub const LAMBDA: f64 = 5e-3;

    /// Creates the loss with the paper's weight, [`LAMBDA`](Self::LAMBDA).
    pub fn new() -> Self {
        Self { lambda: Self::LAMBDA }
    }

    /// Sets the weight of the off-diagonal term, a finite value of at least 0.
    pub fn with_lambda(mut self, lambda: f64) -> Self {
        self.lambda = lambda;
        self
    }
}

impl Default for BarlowTwinsLoss {
    fn default() -> Self {
        Self::new()
    }
}

impl ContrastiveLoss for BarlowTwinsLoss {
    fn describe(&self) -> String {
        format!("barlow-twins {}", self.lambda)
    }

    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        let rows = batch.checked_rows()?;
        let images = standardize(batch.images).transpose() / rows as f64;
        let of_set = |texts| {
            let correlation = images.clone().matmul(standardize(texts));
            let on_diagonal = diagonal(correlation.clone());
            let off_diagonal = with_diagonal(correlation, on_diagonal.zeros_like());
            square(1.0 - on_diagonal).sum() + square(off_diagonal).sum() * self.lambda
        };
        let sets = batch.texts.into_iter().map(of_set).collect();
        Ok(Tensor::cat(sets, 0).mean())
    }
}

/// Standardises every column to mean 0 and variance 1.
fn standardize(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(0);
    let variance = square(centred.clone()).mean_dim(0);
    centred / (variance + EPSILON).sqrt()
}

fn square<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * x
}
