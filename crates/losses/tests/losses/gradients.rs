//! Gradients against differences of the oracle: each loss's own, and its differentiated `forward`.

use std::num::NonZeroUsize;

use crate::oracle::{self, Batch};
use crate::{Differentiated, assert_close, every_config, floats, parts};
use sail_core::ContrastiveLoss;
use sail_losses::{Direction, InfoNceLoss, LossConfig, SigmoidLoss};

fn check(config: LossConfig, batch: &Batch) {
    let expected = oracle::gradients(config, batch);
    // Differences are exact to about 1e-8. A cross-entropy cancels logits, whose rounding error is 6e-8 of
    // the scale.
    let absolute = match config {
        LossConfig::InfoNce { .. } => 6e-8 * batch.log_scale.exp(),
        _ => 1e-7,
    };
    let own = config.build().unwrap();
    let differentiated = Differentiated(config.build().unwrap());
    let losses: [(&str, &dyn ContrastiveLoss); 2] =
        [("own", own.as_ref()), ("differentiated", &differentiated)];
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
fn gradients_are_the_gradients_of_the_definition() {
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

/// Sides that divide the batch, that do not, of one pair, and beyond the batch.
#[test]
fn tiles_of_any_side_give_the_same_gradients_and_value() {
    let (sigmoid, info_nce) = (SigmoidLoss::new(), InfoNceLoss::new());
    for ([rows, dim, sets], sides) in [([7, 5, 3], [1, 2, 7]), ([33, 17, 2], [4, 11, 100])] {
        let batch = Batch::random([rows, dim, sets], 0.5, 20.0, -10.0);
        for side in sides.map(|side| NonZeroUsize::new(side).unwrap()) {
            check_tiled(LossConfig::default(), &sigmoid.with_tile(side), &batch);
            for direction in [Direction::Both, Direction::ImageToText, Direction::TextToImage] {
                let loss = info_nce.with_direction(direction).with_tile(side);
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
fn a_batch_of_two_has_gradients() {
    for config in every_config() {
        // Two standardised rows are 1 and -1 whatever they were: Barlow Twins has no gradient to speak of there.
        if !matches!(config, LossConfig::BarlowTwins { .. }) {
            check(config, &Batch::random([2, 5, 2], 0.5, 20.0, -10.0));
        }
    }
}

#[test]
fn a_logit_of_exactly_zero_has_its_gradient() {
    // Images and their texts are orthogonal: the positives' logits are 0, where relu and abs have a kink.
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
