//! The contract of the trait: errors, finite results, and losses of other crates.

use burn::tensor::{Device, Tensor};
use sail_core::{ContrastiveLoss, EmbeddingBatch, LossError};

use crate::oracle::Batch;
use crate::{assert_close, every_config, floats, parts};

/// The error of both methods, which must agree.
fn error(loss: &dyn ContrastiveLoss, batch: &EmbeddingBatch) -> LossError {
    let error = loss.forward(batch.clone()).unwrap_err();
    assert_eq!(loss.gradients(batch.clone()).unwrap_err(), error);
    error
}

#[test]
fn rejects_invalid_batches() {
    let shape = |rows, dim| Tensor::<2>::ones([rows, dim], &Device::flex());
    let valid = Batch::random([3, 5, 2], 0.0, 20.0, -10.0).to_tensors();
    let batch = |images: Tensor<2>, texts: Vec<Tensor<2>>| EmbeddingBatch { images, texts, ..valid.clone() };
    for config in every_config() {
        let loss = config.build().unwrap();
        let loss = loss.as_ref();
        assert_eq!(error(loss, &batch(shape(1, 5), vec![shape(1, 5)])), LossError::TooSmall { found: 1 });
        assert_eq!(
            error(loss, &batch(shape(3, 5), vec![])),
            LossError::CaptionSets { found: 0, expected: "at least 1" }
        );
        for found in [[4, 5], [3, 6]] {
            assert_eq!(
                error(loss, &batch(shape(3, 5), vec![shape(3, 5), shape(found[0], found[1])])),
                LossError::Shape { set: 1, found, expected: [3, 5] }
            );
        }
    }
}

#[test]
fn results_are_finite_for_logits_out_of_the_range_of_exp() {
    for config in every_config() {
        let loss = config.build().unwrap();
        for bias in [-1e4, 0.0, 1e4] {
            let batch = Batch::random([7, 5, 2], 2.0, 1e4, bias).to_tensors();
            let gradients = loss.gradients(batch).unwrap();
            let mut all = floats(gradients.value.clone());
            all.extend(parts(gradients).concat());
            assert!(all.iter().all(|x| x.is_finite()), "{config:?}, bias {bias}: {all:?}");
        }
    }
}

#[test]
fn barlow_twins_is_finite_for_a_constant_dimension() {
    let mut batch = Batch::random([7, 5, 1], 0.5, 20.0, -10.0);
    for row in batch.images.chunks_mut(5) {
        row[2] = 0.25;
    }
    let loss = sail_losses::BarlowTwinsLoss::new();
    let gradients = loss.gradients(batch.to_tensors()).unwrap();
    let value = floats(gradients.value.clone());
    // The constant dimension has correlation 0, which costs 1.
    assert!(value[0].is_finite() && value[0] >= 1.0, "{value:?}");
    assert!(parts(gradients).concat().iter().all(|x| x.is_finite()));
}

/// A loss of another crate: the mean squared distance between each image and its first caption.
struct MeanSquaredDistance;

impl ContrastiveLoss for MeanSquaredDistance {
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        batch.checked_rows()?;
        let difference = batch.images - batch.texts[0].clone();
        Ok((difference.clone() * difference).mean())
    }
}

#[test]
fn gradients_default_to_automatic_differentiation() {
    let batch = Batch::random([3, 5, 2], 0.5, 20.0, -10.0);
    let loss: Box<dyn ContrastiveLoss> = Box::new(MeanSquaredDistance);
    let gradients = loss.gradients(batch.to_tensors()).unwrap();

    let pairs = batch.images.iter().zip(&batch.texts[0]);
    let gradient: Vec<f64> = pairs.map(|(a, b)| 2.0 * (a - b) / 15.0).collect();
    let opposite: Vec<f64> = gradient.iter().map(|x| -x).collect();
    let expected = [gradient, opposite, vec![0.0; 15], vec![0.0], vec![0.0]];
    for (found, expected) in parts(gradients).iter().zip(&expected) {
        assert_close(found, expected, 1e-6, 0.0, "mean squared distance");
    }
}
