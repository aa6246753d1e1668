//! Values against the oracle.

use crate::oracle::{self, Batch};
use crate::{assert_close, every_config, floats};
use sail_losses::LossConfig;

/// Initial scale and bias, the maximum scale, and logits far out of the range of exp.
const SCALARS: [(f64, f64); 5] = [(20.0, -10.0), (100.0, -10.0), (1.0, 0.0), (100.0, 50.0), (100.0, -200.0)];

#[test]
fn values_match_the_oracle() {
    for config in every_config() {
        let loss = config.build().unwrap();
        for (scale, bias) in SCALARS {
            for rows in [2, 3, 7, 33] {
                for (dim, sets, alignment) in [(5, 1, 0.0), (17, 2, 0.5), (5, 3, 3.0)] {
                    let batch = Batch::random([rows, dim, sets], alignment, scale, bias);
                    let expected = [oracle::value(config, &batch)];
                    let forward = floats(loss.forward(batch.to_tensors()).unwrap());
                    let closed_form = floats(loss.gradients(batch.to_tensors()).unwrap().value);
                    // The rounding error of a logit grows with the scale, and the loss depends on its exponential.
                    let relative = 1e-5 * (scale / 20.0).max(1.0);
                    // Cross-entropies are differences of logits.
                    let absolute = match config {
                        LossConfig::InfoNce { .. } => 1e-7 * scale,
                        _ => 0.0,
                    };
                    let what = format!("{config:?}, {rows} x {dim} x {sets}, {scale}, {bias}");
                    assert_close(&forward, &expected, relative, absolute, &what);
                    assert_close(&closed_form, &expected, relative, absolute, &what);
                }
            }
        }
    }
}

#[test]
fn sums_over_many_pairs_keep_their_precision() {
    let config = LossConfig::default();
    let batch = Batch::random([371, 17, 1], 0.0, 20.0, -10.0);
    let expected = [oracle::value(config, &batch)];
    let loss = config.build().unwrap();
    let forward = floats(loss.forward(batch.to_tensors()).unwrap());
    let closed_form = floats(loss.gradients(batch.to_tensors()).unwrap().value);
    assert_close(&forward, &expected, 1e-6, 0.0, "forward");
    assert_close(&closed_form, &expected, 1e-6, 0.0, "closed form");
}

#[test]
fn small_losses_keep_their_digits_at_large_logits() {
    // The logits of positives are 50, those of negatives -50.
    let identity = vec![1.0, 0.0, 0.0, 1.0];
    let batch = Batch {
        rows: 2,
        dim: 2,
        images: identity.clone(),
        texts: vec![identity],
        log_scale: f64::from(100f32.ln()),
        bias: -50.0,
    };
    let expected = [oracle::value(LossConfig::default(), &batch)];
    assert!(expected[0] < 1e-21);
    let loss = LossConfig::default().build().unwrap();
    let forward = floats(loss.forward(batch.to_tensors()).unwrap());
    let closed_form = floats(loss.gradients(batch.to_tensors()).unwrap().value);
    assert_close(&forward, &expected, 1e-4, 0.0, "forward");
    assert_close(&closed_form, &expected, 1e-4, 0.0, "closed form");
}
