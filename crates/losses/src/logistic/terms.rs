//! What the sigmoid loss needs of a tile.

use burn::tensor::Tensor;

/// Value and derivatives of the logistic loss of a tile of pairs.
pub(crate) struct LogisticTerms {
    /// The sum of the losses of the pairs, `[1]`.
    pub(crate) loss: Tensor<1>,
    /// The derivative of that sum with respect to each logit, `[rows, columns]`.
    pub(crate) d_logits: Tensor<2>,
    /// The derivative with respect to the bias: the sum of `d_logits`, `[1]`.
    pub(crate) d_bias: Tensor<1>,
}
