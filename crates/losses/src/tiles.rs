//! The matrix of all pairs, processed in tiles.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn::tensor::{Device, Tensor};
use sail_core::Dtype;
use sail_matmul::Products;
use sail_support::ranges;

/// The default tile size, 16 MiB of logits: large enough for matrix products at full speed, small enough for a cache.
pub(crate) const TILE_SIZE: NonZeroUsize = NonZeroUsize::new(2048).unwrap();

/// Splits `0..batch` into ranges of `tile_size`; the last one may be shorter.
///
/// Rows and columns are split alike, so only the tiles on the diagonal contain positives, on their own diagonal.
pub(crate) fn tiles(batch: usize, tile_size: NonZeroUsize) -> Vec<Range<usize>> {
    ranges(batch, tile_size.get()).collect()
}

/// The rows of `x` in a range.
pub(crate) fn rows(x: &Tensor<2>, range: &Range<usize>) -> Tensor<2> {
    x.clone().slice(range.clone())
}

/// Zeros in the shape of each tile's rows, to accumulate gradients in.
pub(crate) fn accumulators(x: &Tensor<2>, tiles: &[Range<usize>]) -> Vec<Tensor<2>> {
    tiles.iter().map(|tile| rows(x, tile).zeros_like()).collect()
}

/// The number of values that a tiled loss holds: tiles of logits and gradients, and for the images and every caption set
/// the gradient, its parts before they are concatenated, and a scaled copy.
pub(crate) fn workspace(tile_size: NonZeroUsize, rows: usize, dim: usize, caption_sets: usize) -> usize {
    let tile_size = tile_size.get().min(rows);
    let tile = tile_size.saturating_mul(tile_size.saturating_add(dim));
    let embeddings = rows.saturating_mul(dim).saturating_mul(caption_sets.saturating_add(1));
    tile.saturating_mul(4).saturating_add(embeddings.saturating_mul(3))
}

/// Returns the products of tiles on `device`: of values rounded to bf16 if that is the precision and `device` is a CPU with
/// instructions for it, else in f32.
pub(crate) fn products(precision: Dtype, device: &Device) -> Products {
    Products::bf16_on_cpu(precision, device).unwrap_or_default()
}

/// Backpropagates the gradient of a tile's logits to the scaled images and the texts, and adds the results to theirs.
pub(crate) fn backpropagate(
    products: Products,
    d_logits: Tensor<2>,
    [scaled_images, texts]: [Tensor<2>; 2],
    d_images: &mut Tensor<2>,
    d_texts: &mut Tensor<2>,
) {
    d_texts.inplace(|sum| products.add_matmul(sum, d_logits.clone().transpose(), scaled_images));
    d_images.inplace(|sum| products.add_matmul(sum, d_logits, texts));
}
