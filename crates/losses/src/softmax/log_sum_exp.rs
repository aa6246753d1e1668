//! Normalisers of a softmax.

use burn::tensor::Tensor;

/// `log sum exp` of logits, in two parts: rounding their sum would cost the digits of a probability close to 1.
#[derive(Debug, Clone)]
pub(crate) struct LogSumExp {
    /// The largest logit of each row, `[rows, 1]`, or of each column, `[1, columns]`.
    pub(crate) max: Tensor<2>,
    /// `log sum exp(logit - max)`, in the same shape.
    pub(crate) log_sum: Tensor<2>,
}

impl LogSumExp {
    /// Merges the sums over two disjoint sets of logits.
    pub(crate) fn merge(self, other: Self) -> Self {
        let max = self.max.clone().max_pair(other.max.clone());
        let sum_of = |part: Self| ((part.max - max.clone()) + part.log_sum).exp();
        let log_sum = (sum_of(self) + sum_of(other)).log();
        Self { max, log_sum }
    }

    /// The sum of the cross-entropies, `[1]`, of targets with these logits, one for each row or column.
    pub(crate) fn cross_entropy(&self, targets: Tensor<1>) -> Tensor<1> {
        let targets = targets.reshape(self.max.dims());
        ((self.max.clone() - targets) + self.log_sum.clone()).sum()
    }
}

/// A normaliser over whole rows or whole columns of the matrix of logits, and the weight of its softmax.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weighted<'a> {
    pub(crate) normalizer: &'a LogSumExp,
    pub(crate) weight: f64,
}
