//! How a contrastive loss divides between positives and negatives.

use burn::tensor::Tensor;

/// Means over the positive and over the negative pairs of a batch, each `[1]`, without a graph.
///
/// A pair is classified by the sign of its logit: a positive is correct above 0, a negative below.
#[derive(Debug, Clone)]
pub struct LossStatistics {
    /// Mean loss of the positives.
    pub positive_loss: Tensor<1>,
    /// Mean loss of the negatives.
    pub negative_loss: Tensor<1>,
    /// Share of the positives that are classified as such, 0 to 1.
    pub positive_accuracy: Tensor<1>,
    /// Share of the negatives that are classified as such, 0 to 1.
    pub negative_accuracy: Tensor<1>,
}
