//! The binary decisions of a tile: what they cost and where they should go.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::diagonal::flip_diagonal;

/// The logistic loss of a tile of pairs.
pub(crate) struct Decisions {
    /// The sum over the pairs, `[1]`.
    pub(crate) loss: Tensor<1>,
    /// The derivative of that sum with respect to each logit, `[rows, columns]`.
    pub(crate) gradients: Tensor<2>,
    /// Their sum, which is the derivative with respect to the bias, `[1]`.
    pub(crate) gradient_sum: Tensor<1>,
}

impl Decisions {
    /// Decides each pair by `logit + bias`; the pairs on the diagonal of a tile with `positives` belong together, all
    /// others do not.
    pub(crate) fn new(logits: Tensor<2>, bias: &Tensor<1>, positives: bool) -> Self {
        #[cfg(feature = "flex")]
        if sail_support::cpu::is_host_f32(&logits) {
            return crate::host::decisions(logits, bias, positives);
        }
        Self::by_tensors(logits, bias, positives)
    }

    /// The same for every device. Flipping a positive's sign before the softplus rather than subtracting its logit
    /// from the sum afterwards keeps a small loss exact when the positives' logits are large.
    pub(crate) fn by_tensors(logits: Tensor<2>, bias: &Tensor<1>, positives: bool) -> Self {
        let flip = |x| if positives { flip_diagonal(x) } else { x };
        let (loss, sigmoid) = softplus_sum_and_sigmoid(flip(logits + bias.clone().unsqueeze()));
        let gradients = flip(sigmoid);
        Self { loss, gradient_sum: gradients.clone().sum(), gradients }
    }
}

/// `sum log(1 + exp(x))` and `sigmoid(x)` out of a single exponential.
///
/// `s = 1 / (1 + exp(-x))` is exact to rounding for every `x`, an overflowing exponential included. With
/// `m = min(s, 1 - s)`, `softplus(x) = relu(x) - log(1 - m)`: a negative `x` keeps its small result to full
/// relative precision, and for a positive one the rounding of `1 - s` is nothing beside `relu(x)`. Against
/// [`softplus`](burn::tensor::activation::softplus) and `sigmoid` this saves an exponential and three temporaries.
fn softplus_sum_and_sigmoid(x: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
    let positive_part = relu(x.clone()).sum();
    let sigmoid = (x.neg().exp() + 1.0).recip();
    let smaller = sigmoid.clone() - relu(sigmoid.clone() * 2.0 - 1.0);
    let sum = positive_part - smaller.neg().log1p().sum();
    (sum, sigmoid)
}
