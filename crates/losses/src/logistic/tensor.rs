//! The logistic loss as tensor operations, for every device.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::terms::LogisticTerms;
use crate::artanh::ARTANH;
use crate::diagonal::flip_diagonal;
use crate::positives::{TilePositives, add_at, select, tensors};

/// See [`super::logistic_terms`].
pub(super) fn logistic_terms(logits: Tensor<2>, bias: &Tensor<1>, positives: TilePositives) -> LogisticTerms {
    // A positive's loss is the softplus of its negated logit. Subtracting the logit from the softplus instead would
    // cancel the digits of a small loss.
    let logits = logits + bias.clone().unsqueeze();
    match positives {
        TilePositives::Diagonal => {
            let LogisticTerms { loss, d_logits, .. } = negatives(flip_diagonal(logits));
            let d_logits = flip_diagonal(d_logits);
            LogisticTerms { loss, d_bias: d_logits.clone().sum(), d_logits }
        }
        TilePositives::Listed(listed) if listed.is_empty() => negatives(logits),
        TilePositives::Listed(listed) => {
            let (indices, weights) = tensors(&listed, &logits.device());
            let of = select(&logits, &indices);
            let LogisticTerms { loss, d_logits, .. } = negatives(add_at(logits, &indices, of.clone() * -2.0));
            let reweighted = (softplus(-of) * (weights.clone() - 1.0)).sum();
            let flipped = select(&d_logits, &indices) * (weights + 1.0);
            let d_logits = add_at(d_logits, &indices, -flipped);
            LogisticTerms { loss: loss + reweighted, d_bias: d_logits.clone().sum(), d_logits }
        }
    }
}

/// The terms of a tile whose pairs are all negatives, by their logits including the bias.
fn negatives(x: Tensor<2>) -> LogisticTerms {
    let e = x.clone().abs().neg().exp();
    // Two sums: few tiles are live at a time, and small terms do not round beside large ones.
    let loss = relu(x.clone()).sum() + log1p(e.clone()).sum();
    let sigmoid = e.clone().mask_fill(x.greater_equal_elem(0.0), 1.0) / (e + 1.0);
    LogisticTerms { loss, d_bias: sigmoid.clone().sum(), d_logits: sigmoid }
}

/// `log(1 + exp(x))`, differentiable, with a small relative error for every `x`.
///
/// burn's own `softplus` ends in `log1p`, which CubeCL devices compute as `log(1 + x)`: there it is 0 for `x < -17`.
pub(crate) fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // Masks, not `abs` and `relu`, whose derivatives at 0 do not add up to 1/2.
    let positive = x.clone().greater_equal_elem(0.0);
    let e = x.clone().mask_where(positive.clone(), x.clone().neg()).exp();
    x.mask_fill(positive.bool_not(), 0.0) + log1p(e)
}

/// `log(1 + e)` for `e` in 0 to 1, by [`ARTANH`].
fn log1p<const D: usize>(e: Tensor<D>) -> Tensor<D> {
    let q = e.clone() / (e + 2.0);
    let s = q.clone() * q.clone();
    let [series @ .., last] = ARTANH;
    let series = series.iter().rev().fold(s.zeros_like() + last, |sum, &c| sum * s.clone() + c);
    q * series * 2.0
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Relative error of 1e-6 against f64, with allowance for values below the normal range of f32.
    fn assert_close(found: Tensor<2>, expected: impl Iterator<Item = f64>) {
        let found = found.into_data().try_to_vec::<f32>().unwrap();
        for (found, expected) in found.into_iter().zip(expected) {
            let close = (f64::from(found) - expected).abs() <= 1e-6 * expected + 2e-38;
            assert!(close, "{found:e}, expected {expected:e}");
        }
    }

    #[test]
    fn small_losses_keep_their_digits() {
        let logits: Vec<f32> = (-1000..=1000).map(|i| i as f32 * 0.1).collect();
        let softplus_of = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let sigmoid_of = |x: f64| 1.0 / (1.0 + (-x).exp());
        let wide = || logits.iter().map(|&x| f64::from(x));
        let cpu = Device::flex();
        let data = || TensorData::new(logits.clone(), [1, logits.len()]);

        assert_close(softplus(Tensor::from_data(data(), &cpu)), wide().map(softplus_of));
        let x = Tensor::from_data(data(), &cpu.clone().autodiff()).require_grad();
        let gradients = softplus(x.clone()).sum().backward();
        assert_close(x.grad(&gradients).unwrap(), wide().map(sigmoid_of));

        let zero = Tensor::from_data([0f32], &cpu);
        let terms = logistic_terms(Tensor::from_data(data(), &cpu), &zero, TilePositives::NONE);
        assert_close(terms.d_logits, wide().map(sigmoid_of));
        for &logit in &logits {
            let one = Tensor::<2>::from_floats([[logit]], &cpu);
            let terms = logistic_terms(one, &zero, TilePositives::Diagonal);
            assert_close(terms.loss.unsqueeze(), std::iter::once(softplus_of(-f64::from(logit))));
        }
    }
}
