//! The diagonal of a square matrix as a strided slice, which spares a second `[n, n]` matrix for a mask.

use burn::tensor::{Slice, Tensor, s};

/// The diagonal entries of `x`, `[n]`.
pub(crate) fn diagonal(x: Tensor<2>) -> Tensor<1> {
    let [n, _] = x.dims();
    x.reshape([n * n]).slice(every_diagonal_entry(n))
}

/// `x` with the entries of `diagonal`, `[n]`, on its diagonal.
pub(crate) fn with_diagonal(x: Tensor<2>, diagonal: Tensor<1>) -> Tensor<2> {
    let [n, _] = x.dims();
    x.reshape([n * n]).slice_assign(every_diagonal_entry(n), diagonal).reshape([n, n])
}

/// `x` with the sign of its diagonal flipped.
pub(crate) fn flip_diagonal(x: Tensor<2>) -> Tensor<2> {
    // The negation copies the entries, so that `x` has one owner again and is changed in place.
    let flipped = -diagonal(x.clone());
    with_diagonal(x, flipped)
}

fn every_diagonal_entry(n: usize) -> Slice {
    s![..;n as isize + 1]
}
