//! The logistic loss of a tile of pairs.

#[cfg(feature = "flex")]
mod fused;
mod tensor;
mod terms;

use burn::tensor::Tensor;

pub(crate) use tensor::softplus;
pub(crate) use terms::LogisticTerms;

use crate::positives::TilePositives;

/// The logistic loss of every pair of a tile by `logit + bias`: of positives with their weight, of all other pairs as
/// negatives with weight 1.
pub(crate) fn logistic_terms(logits: Tensor<2>, bias: &Tensor<1>, positives: TilePositives) -> LogisticTerms {
    #[cfg(feature = "flex")]
    if crate::host::is_host_f32(&logits) {
        return fused::logistic_terms(logits, bias, positives);
    }
    tensor::logistic_terms(logits, bias, positives)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{assert_close, tile};

    #[test]
    fn fused_terms_equal_those_of_tensor_operations() {
        let bias = Tensor::from_data([-10f32], &Device::flex());
        let listed = |count: u32, step: u32, weight: f32| {
            TilePositives::Listed((0..count).map(|index| (index * step, weight)).collect())
        };
        for (shape, positives) in [
            ([3, 3], TilePositives::Diagonal),
            ([200, 200], TilePositives::Diagonal),
            ([130, 257], TilePositives::NONE),
            ([1, 1], TilePositives::Diagonal),
            ([130, 257], listed(300, 7, 0.25)),
            ([2, 3], listed(3, 2, 0.5)),
            ([50, 50], listed(50, 51, 1.0)),
        ] {
            for size in [0.1, 10.0] {
                let fused = fused::logistic_terms(tile(shape, size), &bias, positives.clone());
                let expected = tensor::logistic_terms(tile(shape, size), &bias, positives.clone());
                assert_close(fused.loss, expected.loss, 1e-5);
                assert_close(fused.d_logits, expected.d_logits, 1e-5);
                assert_close(fused.d_bias, expected.d_bias, 1e-4);
            }
        }
    }
}
