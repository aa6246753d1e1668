//! Images and texts through a tower and a head.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_core::{
    AlignmentHead, HeadError, Pixels, RgbImage, Side, TextTower, TowerError, VisionTower, l2_normalize,
};

use super::SailError;

/// Embeds images in batches, as [`encode_images`](super::SailModel::encode_images).
pub(super) fn encode_images(
    tower: &VisionTower,
    head: &impl AlignmentHead,
    batch_size: usize,
    images: &[RgbImage],
) -> Result<Tensor<2>, SailError> {
    if images.is_empty() {
        return Err(SailError::Empty { what: "image" });
    }
    let failed = |source| SailError::Tower { side: Side::Image, source };
    let mut embeddings = Vec::with_capacity(images.len().div_ceil(batch_size));
    for (batch, images) in images.chunks(batch_size).enumerate() {
        let first = batch * batch_size;
        let prepare = |(place, image)| {
            let input = |source| TowerError::Input { row: first + place, source };
            tower.preprocessor.preprocess(image).map_err(input)
        };
        let pixels = images.par_iter().enumerate().map(prepare).collect::<Result<Vec<_>, _>>();
        embeddings.push(align_pixels(tower, head, &pixels.map_err(failed)?)?);
    }
    unit(Side::Image, Tensor::cat(embeddings, 0))
}

/// Embeds texts in batches, as [`encode_texts`](super::SailModel::encode_texts).
pub(super) fn encode_texts(
    tower: &TextTower,
    head: &impl AlignmentHead,
    batch_size: usize,
    texts: &[impl AsRef<str>],
) -> Result<Tensor<2>, SailError> {
    if texts.is_empty() {
        return Err(SailError::Empty { what: "text" });
    }
    let failed = |source| SailError::Tower { side: Side::Text, source };
    let tokenizer = &*tower.tokenizer;
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    let tokenize = |(row, text): (usize, &&str)| {
        tokenizer.tokenize(text).map_err(|source| TowerError::Input { row, source })
    };
    let tokens = texts.par_iter().enumerate().map(tokenize).collect::<Result<Vec<_>, _>>();
    let features = tower.embed_bounded(&tokens.map_err(failed)?, batch_size).map_err(failed)?;
    let parts = features.split(batch_size, 0).into_iter();
    let embeddings = parts.map(|part| align(head, Side::Text, part)).collect::<Result<Vec<_>, _>>()?;
    unit(Side::Text, Tensor::cat(embeddings, 0))
}

/// Embeds one batch of preprocessed images, without normalization.
pub(super) fn align_pixels(
    tower: &VisionTower,
    head: &impl AlignmentHead,
    images: &[Pixels],
) -> Result<Tensor<2>, SailError> {
    // Images may be preprocessed to different sizes, but a batch of the backbone has only one.
    let parts = images.chunk_by(|a, b| a.size == b.size).map(|images| {
        let features =
            tower.embed(images).map_err(|source| SailError::Tower { side: Side::Image, source })?;
        Ok(align(head, Side::Image, features)?)
    });
    Ok(Tensor::cat(parts.collect::<Result<Vec<_>, SailError>>()?, 0))
}

fn align(head: &impl AlignmentHead, side: Side, features: Tensor<2>) -> Result<Tensor<2>, HeadError> {
    let features = features.without_autodiff().to_device(&head.log_scale().device());
    match side {
        Side::Image => head.project_images(features),
        Side::Text => head.project_texts(features),
    }
}

/// Normalizes rows to unit length. A row that is all zeros or not finite is an error.
pub(super) fn unit(side: Side, rows: Tensor<2>) -> Result<Tensor<2>, SailError> {
    let norms = (rows.clone() * rows.clone()).sum_dim(1).sqrt().try_into_vec_as::<f32>()?;
    // `l2_normalize` does not bring shorter rows to unit length.
    match norms.iter().position(|norm| !(norm.is_finite() && *norm > 1e-12)) {
        Some(row) => Err(SailError::Direction { side, row, norm: norms[row] }),
        None => Ok(l2_normalize(rows)),
    }
}
