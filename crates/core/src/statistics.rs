//! Statistics of a contrastive loss.

use burn::tensor::Tensor;

/// Mean loss and accuracy of the positive and of the negative pairs of a batch, each `[1]`, without an autodiff graph.
///
/// A pair is classified by the sign of its logit: positive above 0, negative below.
#[derive(Debug, Clone)]
pub struct LossStatistics {
    /// Mean loss of the positives.
    pub positive_loss: Tensor<1>,
    /// Mean loss of the negatives.
    pub negative_loss: Tensor<1>,
    /// Accuracy of the positives, 0 to 1.
    pub positive_accuracy: Tensor<1>,
    /// Accuracy of the negatives, 0 to 1.
    pub negative_accuracy: Tensor<1>,
}
