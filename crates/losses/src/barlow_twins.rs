//! Barlow Twins.

use burn::tensor::Tensor;
use sail_core::{ContrastiveLoss, EmbeddingBatch, LossError};

use crate::diagonal::{diagonal, with_diagonal};

/// Added to a column's variance. Coordinates of unit vectors have variances near `1 / dim`, so it has to be
/// far smaller than the usual 1e-5 of a batch norm.
const EPSILON: f64 = 1e-8;

/// Barlow Twins: over the batch, a dimension should agree with itself on the other side, and with no other.
///
/// With every column of the images and the texts standardised over the batch to `A` and `B`, and their
/// cross-correlation `C`,
///
/// ```text
/// A, B = (x - mean) / sqrt(variance + 1e-8)     the variance divided by batch, not batch - 1
/// C    = A^T B / batch
/// loss = sum_i (1 - C_ii)^2 + lambda * sum_{i != j} C_ij^2
/// ```
///
/// With several caption sets it is the mean of the loss of each. The batch's scale and bias are not used.
/// There are no negatives: rows are only compared through statistics of the batch, which should therefore not
/// be small.
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
/// };
/// // Each column agrees with itself, and is the exact opposite of the other: C = [[1, -1], [-1, 1]].
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

    /// The loss with the paper's weight, [`LAMBDA`](Self::LAMBDA).
    pub fn new() -> Self {
        Self { lambda: Self::LAMBDA }
    }

    /// Sets the weight of the off-diagonal term, finite and not negative.
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
            let agreement = diagonal(correlation.clone());
            let redundancy = with_diagonal(correlation, agreement.zeros_like());
            square(1.0 - agreement).sum() + square(redundancy).sum() * self.lambda
        };
        let sets = batch.texts.into_iter().map(of_set).collect();
        Ok(Tensor::cat(sets, 0).mean())
    }
}

/// Every column with mean 0 and variance 1.
fn standardize(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(0);
    let variance = square(centred.clone()).mean_dim(0);
    centred / (variance + EPSILON).sqrt()
}

fn square<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * x
}
