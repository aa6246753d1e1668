//! The matrix of all pairs, cut into tiles of which few are held at a time.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn::tensor::Tensor;
use sail_support::ranges;

/// A tile of this side fills 16 MiB: large enough for products at full speed, small enough to stay near a cache.
pub(crate) const TILE: NonZeroUsize = NonZeroUsize::new(2048).unwrap();

/// `0..batch` in ranges of `side`, the last one shorter where it does not divide.
///
/// Rows and columns are cut alike, so that the diagonal runs through the tiles on the diagonal alone.
pub(crate) fn tiles(batch: usize, side: NonZeroUsize) -> Vec<Range<usize>> {
    ranges(batch, side.get()).collect()
}

/// The rows of `x` in a range, as a view.
pub(crate) fn rows(x: &Tensor<2>, range: &Range<usize>) -> Tensor<2> {
    x.clone().slice(range.clone())
}

/// Zeros in the shape of each tile's rows, to add gradients up in.
pub(crate) fn sums(x: &Tensor<2>, tiles: &[Range<usize>]) -> Vec<Tensor<2>> {
    tiles.iter().map(|tile| rows(x, tile).zeros_like()).collect()
}

/// Numbers that a loss in tiles holds: tiles of logits and gradients, and of the images and every caption set the
/// gradient, its parts before they are joined, and a scaled copy.
pub(crate) fn workspace(side: NonZeroUsize, rows: usize, dim: usize, caption_sets: usize) -> usize {
    let side = side.get().min(rows);
    let tile = side.saturating_mul(side.saturating_add(dim));
    let embeddings = rows.saturating_mul(dim).saturating_mul(caption_sets.saturating_add(1));
    tile.saturating_mul(4).saturating_add(embeddings.saturating_mul(3))
}

/// Adds in place.
pub(crate) fn add(sum: &mut Tensor<2>, x: Tensor<2>) {
    sum.inplace(|sum| sum + x);
}

/// What the gradient of a tile's logits adds to the gradients of the (scaled) images and the texts.
pub(crate) fn carry(
    gradients: Tensor<2>,
    [scaled_images, texts]: [Tensor<2>; 2],
    d_images: &mut Tensor<2>,
    d_texts: &mut Tensor<2>,
) {
    add(d_texts, gradients.clone().transpose().matmul(scaled_images));
    add(d_images, gradients.matmul(texts));
}
