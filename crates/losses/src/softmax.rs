//! The choices of a tile: each row among its columns, and each column among its rows.

use burn::tensor::Tensor;

/// The logarithm of a sum of exponentials, in two parts: rounding their sum would cost the digits that a confident
/// choice, whose probability is close to 1, has left.
#[derive(Debug, Clone)]
pub(crate) struct LogSumExp {
    /// The largest logit of each row, `[rows, 1]`, or of each column, `[1, columns]`.
    pub(crate) largest: Tensor<2>,
    /// `log sum exp(logit - largest)`, in the same shape.
    pub(crate) log_sum: Tensor<2>,
}

impl LogSumExp {
    /// Of a tile along a dimension: 1 sums over each row, 0 over each column.
    pub(crate) fn new(logits: Tensor<2>, dim: usize) -> Self {
        #[cfg(feature = "flex")]
        if sail_support::cpu::is_host_f32(&logits) {
            return crate::host::log_sum_exp(logits, dim);
        }
        Self::by_tensors(logits, dim)
    }

    /// The same for every device.
    pub(crate) fn by_tensors(logits: Tensor<2>, dim: usize) -> Self {
        let largest = logits.clone().max_dim(dim);
        let log_sum = (logits - largest.clone()).exp().sum_dim(dim).log();
        Self { largest, log_sum }
    }

    /// Of both tiles of a strip.
    pub(crate) fn join(self, other: Self) -> Self {
        let largest = self.largest.clone().max_pair(other.largest.clone());
        let of = |part: Self| ((part.largest - largest.clone()) + part.log_sum).exp();
        let log_sum = (of(self) + of(other)).log();
        Self { largest, log_sum }
    }

    /// `-sum log p`, `[1]`, where `own` has the logit that each row or column should have chosen.
    pub(crate) fn cross_entropy(&self, own: Tensor<1>) -> Tensor<1> {
        let own = own.reshape(self.largest.dims());
        ((self.largest.clone() - own) + self.log_sum.clone()).sum()
    }
}

/// One kind of choice: its sums, over whole rows or columns of the matrix, and how much it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    pub(crate) total: &'a LogSumExp,
    pub(crate) weight: f64,
}

/// The probabilities of both kinds of choices, weighted: `sum_k weight_k * exp(logit - total_k)`.
pub(crate) fn probabilities(
    logits: Tensor<2>,
    of_rows: Option<Choice<'_>>,
    of_columns: Option<Choice<'_>>,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if sail_support::cpu::is_host_f32(&logits) {
        return crate::host::probabilities(logits, of_rows, of_columns);
    }
    probabilities_by_tensors(logits, of_rows, of_columns)
}

/// The same for every device.
pub(crate) fn probabilities_by_tensors(
    logits: Tensor<2>,
    of_rows: Option<Choice<'_>>,
    of_columns: Option<Choice<'_>>,
) -> Tensor<2> {
    let weighted = |Choice { total, weight }: Choice<'_>| {
        ((logits.clone() - total.largest.clone()) - total.log_sum.clone()).exp() * weight
    };
    let kinds = of_rows.into_iter().chain(of_columns).map(weighted);
    kinds.reduce(|sum, x| sum + x).unwrap_or_else(|| logits.zeros_like())
}
