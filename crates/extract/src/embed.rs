//! From tensors to the rows of a store.

use burn::tensor::Tensor;
use sail_core::{Pixels, TowerError, VisionTower};

/// The rows of a matrix, in host memory.
pub(crate) fn rows(matrix: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, dim] = matrix.dims();
    let values: Vec<f32> = matrix.into_data().iter::<f32>().collect();
    // A matrix without columns has no rows to give, which the count of rows then tells.
    values.chunks_exact(dim.max(1)).map(<[f32]>::to_vec).collect()
}

/// Embeds prepared images. Those of one size make one batch, and a size is a batch of its own.
pub(crate) fn images(tower: &VisionTower, images: Vec<Pixels>) -> Result<Vec<Vec<f32>>, TowerError> {
    let mut sizes: Vec<[usize; 2]> = Vec::new();
    let mut batches: Vec<Vec<Pixels>> = Vec::new();
    let mut places = Vec::with_capacity(images.len());
    for image in images {
        let batch = sizes.iter().position(|size| *size == image.size).unwrap_or_else(|| {
            sizes.push(image.size);
            batches.push(Vec::new());
            sizes.len() - 1
        });
        places.push(batch);
        batches[batch].push(image);
    }
    let embed = |batch: Vec<Pixels>| Ok(rows(tower.embed(&batch)?).into_iter());
    let mut batches = batches.into_iter().map(embed).collect::<Result<Vec<_>, TowerError>>()?;
    // Each row from its batch, in the order of the images; what is missing then shows in the count.
    Ok(places.into_iter().filter_map(|batch| batches[batch].next()).collect())
}
