//! The softmax as tensor operations, for every device.

use burn::tensor::Tensor;

use super::log_sum_exp::{LogSumExp, Weighted};

/// See [`super::log_sum_exp`].
pub(super) fn log_sum_exp(logits: Tensor<2>, dim: usize) -> LogSumExp {
    let max = logits.clone().max_dim(dim);
    let log_sum = (logits - max.clone()).exp().sum_dim(dim).log();
    LogSumExp { max, log_sum }
}

/// See [`super::weighted_softmax`].
pub(super) fn weighted_softmax(
    logits: Tensor<2>,
    rows: Option<Weighted<'_>>,
    columns: Option<Weighted<'_>>,
) -> Tensor<2> {
    let weighted = |Weighted { normalizer, weight }: Weighted<'_>| {
        ((logits.clone() - normalizer.max.clone()) - normalizer.log_sum.clone()).exp() * weight
    };
    let terms = rows.into_iter().chain(columns).map(weighted);
    terms.reduce(|sum, x| sum + x).unwrap_or_else(|| logits.zeros_like())
}
