//! The softmax of a tile over rows, over columns, or both.

#[cfg(feature = "flex")]
mod fused;
mod log_sum_exp;
mod tensor;

use burn::tensor::Tensor;

pub(crate) use log_sum_exp::{LogSumExp, Weighted};

/// The normaliser of a tile along a dimension: 1 sums over each row, 0 over each column.
pub(crate) fn log_sum_exp(logits: Tensor<2>, dim: usize) -> LogSumExp {
    #[cfg(feature = "flex")]
    if crate::host::is_host_f32(&logits) {
        return fused::log_sum_exp(logits, dim);
    }
    tensor::log_sum_exp(logits, dim)
}

/// The weighted sum of the softmax over rows and the softmax over columns: `sum_k weight_k * exp(logit - normalizer_k)`.
pub(crate) fn weighted_softmax(
    logits: Tensor<2>,
    rows: Option<Weighted<'_>>,
    columns: Option<Weighted<'_>>,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::host::is_host_f32(&logits) {
        return fused::weighted_softmax(logits, rows, columns);
    }
    tensor::weighted_softmax(logits, rows, columns)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::host::values;
    use crate::testing::{assert_close, tile};

    #[test]
    fn fused_softmax_equals_that_of_tensor_operations() {
        for shape in [[3, 5], [70, 33], [64, 64], [1, 40], [40, 1], [1, 1]] {
            for size in [0.1, 30.0] {
                let x = || tile(shape, size);
                let [columns, rows] = [0, 1].map(|dim| tensor::log_sum_exp(x(), dim));
                for (dim, expected) in [&columns, &rows].into_iter().enumerate() {
                    let found = fused::log_sum_exp(x(), dim);
                    assert_close(found.max, expected.max.clone(), 0.0);
                    let difference = found.log_sum - expected.log_sum.clone();
                    assert!(values(&difference.abs().max())[0] < 1e-5);
                }
                let row = Some(Weighted { normalizer: &rows, weight: 0.3 });
                let column = Some(Weighted { normalizer: &columns, weight: 0.7 });
                for (row, column) in [(row, column), (row, None), (None, column), (None, None)] {
                    let found = fused::weighted_softmax(x(), row, column);
                    let difference = found - tensor::weighted_softmax(x(), row, column);
                    assert!(values(&difference.abs().max())[0] < 1e-5);
                }
            }
        }
    }
}
