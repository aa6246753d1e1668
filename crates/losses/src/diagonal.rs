//! The diagonal of a square matrix as a strided slice, without an `[n, n]` mask.

use burn::tensor::{Slice, Tensor, s};

/// Returns the diagonal of `x`, `[n]`.
pub(crate) fn diagonal(x: Tensor<2>) -> Tensor<1> {
    let [n, _] = x.dims();
    x.reshape([n * n]).slice(diagonal_slice(n))
}

/// Replaces the diagonal of `x` by `diagonal`, `[n]`.
pub(crate) fn with_diagonal(x: Tensor<2>, diagonal: Tensor<1>) -> Tensor<2> {
    let [n, _] = x.dims();
    x.reshape([n * n]).slice_assign(diagonal_slice(n), diagonal).reshape([n, n])
}

/// Flips the sign of the diagonal of `x`.
pub(crate) fn flip_diagonal(x: Tensor<2>) -> Tensor<2> {
    // The negation copies the entries, so `x` has one owner again and is modified in place.
    let flipped = -diagonal(x.clone());
    with_diagonal(x, flipped)
}

fn diagonal_slice(n: usize) -> Slice {
    s![..;n as isize + 1]
}
