//! The logistic loss of a tile of pairs.

#[cfg(feature = "flex")]
mod fused;
mod tensor;
mod terms;

use burn::tensor::Tensor;

pub(crate) use tensor::softplus;
pub(crate) use terms::LogisticTerms;

/// The logistic loss of every pair of a tile by `logit + bias`. With `positive_diagonal`, the pairs on the diagonal are
/// positives; all other pairs are negatives.
pub(crate) fn logistic_terms(logits: Tensor<2>, bias: &Tensor<1>, positive_diagonal: bool) -> LogisticTerms {
    #[cfg(feature = "flex")]
    if crate::host::is_host_f32(&logits) {
        return fused::logistic_terms(logits, bias, positive_diagonal);
    }
    tensor::logistic_terms(logits, bias, positive_diagonal)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{assert_close, tile};

    #[test]
    fn fused_terms_equal_those_of_tensor_operations() {
        let bias = Tensor::from_data([-10f32], &Device::flex());
        for (shape, diagonal) in [([3, 3], true), ([200, 200], true), ([130, 257], false), ([1, 1], true)] {
            for size in [0.1, 10.0] {
                let fused = fused::logistic_terms(tile(shape, size), &bias, diagonal);
                let expected = tensor::logistic_terms(tile(shape, size), &bias, diagonal);
                assert_close(fused.loss, expected.loss, 1e-5);
                assert_close(fused.d_logits, expected.d_logits, 1e-5);
                assert_close(fused.d_bias, expected.d_bias, 1e-4);
            }
        }
    }
}
