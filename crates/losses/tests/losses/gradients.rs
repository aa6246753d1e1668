//! Closed-form gradients and differentiated `forward` against finite differences of the oracle.

use std::num::NonZeroUsize;

use crate::oracle::{self, Batch};
use crate::{Differentiated, assert_close, every_config, floats, parts};
use sail_core::ContrastiveLoss;
use sail_losses::{Direction, InfoNceLoss, LossConfig, SigmoidLoss};

fn check(config: LossConfig, batch: &Batch) {
    let expected = oracle::gradients(config, batch);
    // Finite differences have an error of about 1e-8. A cross-entropy cancels logits, whose rounding error is 6e-8 of
    // the scale.
    let absolute = match config {
        LossConfig::InfoNce { .. } => 6e-8 * batch.log_scale.exp(),
        _ => 1e-7,
    };
    let closed_form = config.build().unwrap();
    let differentiated = Differentiated(config.build().unwrap());
    let losses: [(&str, &dyn ContrastiveLoss); 2] =
        [("closed form", closed_form.as_ref()), ("differentiated", &differentiated)];
    for (path, loss) in losses {
        let found = parts(loss.gradients(batch.to_tensors()).unwrap());
        assert_eq!(found.len(), expected.len());
        for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let Batch { rows, dim, .. } = batch;
            let what = format!("{config:?}, {rows} x {dim}, {path}, part {part}");
            assert_close(found, expected, 2e-5, absolute, &what);
        }
    }
}

#[test]
fn gradients_match_the_oracle() {
    for config in every_config() {
        for ([rows, dim, sets], alignment) in
            [([3, 5, 1], 0.0), ([7, 5, 3], 0.5), ([7, 17, 2], 2.0), ([33, 5, 1], 0.5)]
        {
            for (scale, bias) in [(20.0, -10.0), (100.0, -10.0), (100.0, 50.0), (1.0, 0.0)] {
                check(config, &Batch::random([rows, dim, sets], alignment, scale, bias));
            }
        }
    }
}

/// Tile sizes that divide the batch, that do not, of one pair, and larger than the batch.
#[test]
fn tiled_gradients_match_the_oracle() {
    let (sigmoid, info_nce) = (SigmoidLoss::new(), InfoNceLoss::new());
    for ([rows, dim, sets], tile_sizes) in [([7, 5, 3], [1, 2, 7]), ([33, 17, 2], [4, 11, 100])] {
        let batch = Batch::random([rows, dim, sets], 0.5, 20.0, -10.0);
        for size in tile_sizes.map(|size| NonZeroUsize::new(size).unwrap()) {
            check_tiled(LossConfig::default(), &sigmoid.with_tile_size(size), &batch);
            for direction in [Direction::Both, Direction::ImageToText, Direction::TextToImage] {
                let loss = info_nce.with_direction(direction).with_tile_size(size);
                check_tiled(LossConfig::InfoNce { direction }, &loss, &batch);
            }
        }
    }
}

fn check_tiled(config: LossConfig, loss: &dyn ContrastiveLoss, batch: &Batch) {
    let found = loss.gradients(batch.to_tensors()).unwrap();
    let what = format!("{config:?}, {} x {}", batch.rows, batch.dim);
    assert_close(&floats(found.value.clone()), &[oracle::value(config, batch)], 1e-5, 0.0, &what);
    for (found, expected) in parts(found).iter().zip(&oracle::gradients(config, batch)) {
        assert_close(found, expected, 2e-5, 2e-6, &what);
    }
}

#[test]
fn gradients_of_a_batch_of_two_match_the_oracle() {
    for config in every_config() {
        // Two standardised rows are always 1 and -1, so the gradient of Barlow Twins vanishes.
        if !matches!(config, LossConfig::BarlowTwins { .. }) {
            check(config, &Batch::random([2, 5, 2], 0.5, 20.0, -10.0));
        }
    }
}

#[test]
fn gradients_at_a_logit_of_zero_match_the_oracle() {
    // Images and their texts are orthogonal: the logits of positives are 0, where relu and abs have a kink.
    let batch = Batch {
        rows: 2,
        dim: 2,
        images: vec![1.0, 0.0, 0.0, 1.0],
        texts: vec![vec![0.0, 1.0, 1.0, 0.0]],
        log_scale: 0.0,
        bias: 0.0,
    };
    check(LossConfig::default(), &batch);
}
