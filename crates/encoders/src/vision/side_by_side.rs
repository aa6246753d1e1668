//! Large batches on a CPU.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_core::{DenseOptions, EncodeError, ImageEncoder, ImageFeatures, PatchTokens};

/// Images that are encoded together. A constant, so that no result depends on the number of threads.
const MICRO_BATCH: usize = 2;

/// A backbone that encodes a batch on a CPU as several small ones at the same time.
///
/// Between matrix products burn's CPU backend works on one core, which others can spend on another image's
/// products; and the states of two images stay in the caches where those of a whole batch do not. For a ViT-B at
/// 224 pixels this is worth a quarter, and memory does not grow with the batch.
pub(super) struct SideBySide<E>(pub(super) E);

impl<E: ImageEncoder> ImageEncoder for SideBySide<E> {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        side_by_side(pixels, |part| self.0.encode_images(part))
    }

    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        side_by_side(pixels, |part| self.0.encode_dense(part, options))
    }
}

fn side_by_side(
    pixels: Tensor<4>,
    encode: impl Fn(Tensor<4>) -> Result<ImageFeatures, EncodeError> + Sync + Send,
) -> Result<ImageFeatures, EncodeError> {
    if pixels.dims()[0] <= MICRO_BATCH {
        return encode(pixels);
    }
    let parts = pixels.split(MICRO_BATCH, 0).into_par_iter().with_max_len(1);
    Ok(joined(parts.map(encode).collect::<Result<Vec<_>, _>>()?))
}

fn joined(parts: Vec<ImageFeatures>) -> ImageFeatures {
    let rows = |part: fn(&ImageFeatures) -> Option<Tensor<2>>| {
        let rows: Option<Vec<_>> = parts.iter().map(part).collect();
        rows.map(|rows| Tensor::cat(rows, 0))
    };
    let class_token = rows(|part| part.class_token.clone());
    let pooled = rows(|part| part.pooled.clone());
    let grid = parts.first().and_then(|part| part.patches.as_ref()).map(|patches| patches.grid);
    let tokens: Vec<_> =
        parts.into_iter().filter_map(|part| part.patches).map(|patches| patches.tokens).collect();
    let patches = grid.map(|grid| PatchTokens { tokens: Tensor::cat(tokens, 0), grid });
    ImageFeatures { class_token, patches, pooled }
}
