//! Losses and accuracies of positives and negatives, in tiles.

use std::num::NonZeroUsize;

use sail_core::{EmbeddingBatch, LossError, LossStatistics};

use crate::diagonal::{diagonal, with_diagonal};
use crate::logistic::softplus;
use crate::positives::{Positives, TilePositives, add_at, select, tensors};
use crate::tiles::{rows, tiles};

/// A logit with a softplus of 0 that counts as a correct negative, which excludes positives from the sums of negatives.
const EXCLUDED: f32 = -1e4;

/// Computes the means of `softplus(-logit)` over the positives and of `softplus(logit)` over the negatives of all caption
/// sets, and the shares of both whose logit has the correct sign.
pub(crate) fn sigmoid_statistics(
    batch: EmbeddingBatch,
    tile_size: NonZeroUsize,
) -> Result<LossStatistics, LossError> {
    let shape = batch.checked_shape()?;
    let sets = batch.texts.len() as f64;
    let of_batch = Positives::new(batch.groups.as_ref());
    let EmbeddingBatch { images, texts, log_scale, bias, .. } = batch;
    let scaled = images * log_scale.exp().unsqueeze();
    let [row_tiles, column_tiles] = shape.map(|rows| tiles(rows, tile_size));
    let zero = || bias.zeros_like();
    let [mut positive_loss, mut negative_loss, mut true_positives, mut false_positives] =
        [zero(), zero(), zero(), zero()];
    for texts in &texts {
        for row in &row_tiles {
            let scaled = rows(&scaled, row);
            for column in &column_tiles {
                let mut logits =
                    scaled.clone().matmul(rows(texts, column).transpose()) + bias.clone().unsqueeze();
                let positives = match of_batch.of_tile(row, column) {
                    TilePositives::Diagonal => {
                        let positives = diagonal(logits.clone());
                        logits = with_diagonal(logits, positives.full_like(EXCLUDED));
                        Some(positives)
                    }
                    TilePositives::Listed(listed) if listed.is_empty() => None,
                    TilePositives::Listed(listed) => {
                        let (indices, _) = tensors(&listed, &logits.device());
                        let positives = select(&logits, &indices);
                        logits = add_at(logits, &indices, -positives.clone() + EXCLUDED);
                        Some(positives)
                    }
                };
                if let Some(positives) = positives {
                    positive_loss = positive_loss + softplus(-positives.clone()).sum();
                    true_positives = true_positives + positives.greater_elem(0.0).float().sum();
                }
                false_positives = false_positives + logits.clone().greater_equal_elem(0.0).float().sum();
                negative_loss = negative_loss + softplus(logits).sum();
            }
        }
    }
    let count = of_batch.count(shape);
    let [positives, negatives] = [count, shape[0] * shape[1] - count].map(|count| count as f64 * sets);
    Ok(LossStatistics {
        positive_loss: positive_loss / positives,
        negative_loss: negative_loss / negatives,
        positive_accuracy: true_positives / positives,
        negative_accuracy: -(false_positives / negatives) + 1.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor, TensorData};

    #[test]
    fn statistics_match_plain_loops() {
        let device = Device::flex();
        let (batch, dim, scale, bias) = (7, 3, 6.0f64, -1.0f64);
        let values = |phase: f64| -> Vec<f64> {
            let raw: Vec<f64> = (0..batch * dim).map(|i| (i as f64 * 1.7 + phase).sin()).collect();
            let unit = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
            raw.chunks(dim).flat_map(|row| row.iter().map(|x| x / unit(row)).collect::<Vec<_>>()).collect()
        };
        let images = values(0.0);
        let texts = [values(0.4), values(2.0)];
        let (mut losses, mut correct, mut counts) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        for texts in &texts {
            for i in 0..batch {
                for j in 0..batch {
                    let dot: f64 = (0..dim).map(|k| images[i * dim + k] * texts[j * dim + k]).sum();
                    let logit = scale * dot + bias;
                    let (kind, margin) = if i == j { (0, logit) } else { (1, -logit) };
                    losses[kind] += (-margin).exp().ln_1p();
                    correct[kind] += f64::from(u8::from(margin > 0.0));
                    counts[kind] += 1.0;
                }
            }
        }
        let tensor = |values: &[f64]| {
            let values = values.iter().map(|&x| x as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [batch, dim]), &device)
        };
        let embeddings = EmbeddingBatch {
            images: tensor(&images),
            texts: texts.iter().map(|texts| tensor(texts)).collect(),
            log_scale: Tensor::from_floats([(scale as f32).ln()], &device),
            bias: Tensor::from_floats([bias as f32], &device),
            groups: None,
        };
        // Both kinds have correctly and incorrectly classified pairs.
        assert!((0..2).all(|kind| correct[kind] > 0.0 && correct[kind] < counts[kind]));
        for tile_size in [1, 3, 7, 100] {
            let tile_size = NonZeroUsize::new(tile_size).unwrap();
            let found = sigmoid_statistics(embeddings.clone(), tile_size).unwrap();
            let found = [
                [found.positive_loss, found.negative_loss],
                [found.positive_accuracy, found.negative_accuracy],
            ]
            .map(|pair| pair.map(|x| f64::from(x.into_scalar::<f32>())));
            for kind in 0..2 {
                let expected = [losses[kind] / counts[kind], correct[kind] / counts[kind]];
                assert!((found[0][kind] - expected[0]).abs() < 1e-5, "{found:?}, expected {expected:?}");
                assert!((found[1][kind] - expected[1]).abs() < 1e-6, "{found:?}, expected {expected:?}");
            }
        }
    }
}
