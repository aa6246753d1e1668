//! Embedding of batches.

use burn::tensor::Tensor;
use sail_core::{Layer, Pixels, TowerError, VisionTower};

use crate::block::Rows;

/// Copies the rows of a matrix to host memory.
pub(crate) fn rows(matrix: Tensor<2>) -> Rows {
    let [_, dim] = matrix.dims();
    let values: Vec<f32> = matrix.into_data().iter::<f32>().collect();
    // Without columns there are no rows. The caller checks the number of rows.
    values.chunks_exact(dim.max(1)).map(<[f32]>::to_vec).collect()
}

/// Embeds preprocessed images by several layers, in one batch per image size.
pub(crate) fn images(
    tower: &VisionTower,
    images: Vec<Pixels>,
    layers: &[Layer],
) -> Result<Vec<Rows>, TowerError> {
    let mut sizes: Vec<[usize; 2]> = Vec::new();
    let mut batches: Vec<Vec<Pixels>> = Vec::new();
    let mut batch_of = Vec::with_capacity(images.len());
    for image in images {
        let batch = sizes.iter().position(|size| *size == image.size).unwrap_or_else(|| {
            sizes.push(image.size);
            batches.push(Vec::new());
            sizes.len() - 1
        });
        batch_of.push(batch);
        batches[batch].push(image);
    }
    let embed = |batch: Vec<Pixels>| {
        let layers = tower.embed_layers(&batch, layers)?.into_iter();
        Ok(layers.map(|layer| rows(layer).into_iter()).collect::<Vec<_>>())
    };
    let mut batches = batches.into_iter().map(embed).collect::<Result<Vec<_>, TowerError>>()?;
    // In the order of the images. The caller checks the number of rows.
    let mut of_layer = |layer: usize| {
        let row = |batch: &usize| batches[*batch].get_mut(layer)?.next();
        batch_of.iter().filter_map(row).collect()
    };
    Ok((0..layers.len()).map(&mut of_layer).collect())
}
