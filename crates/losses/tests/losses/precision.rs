//! Losses with matrix products in bf16.

use sail_core::Dtype;
use sail_losses::{InfoNceLoss, SigmoidLoss};
use sail_matmul::Bf16Products;

use super::*;

/// Unit rows of noise.
fn batch(rows: usize, dim: usize) -> EmbeddingBatch {
    let noise = |seed: f64| {
        let values: Vec<f64> =
            (0..rows * dim).map(|i| ((i as f64 + seed) * 12.9898).sin() * 43_758.545_3).collect();
        let values: Vec<f64> = values.into_iter().map(|x| x.rem_euclid(1.0) - 0.5).collect();
        sail_core::l2_normalize(tensor(&values, [rows, dim]))
    };
    EmbeddingBatch {
        images: noise(0.3),
        texts: vec![noise(0.7), noise(0.1)],
        log_scale: tensor(&[20f64.ln()], [1]),
        bias: tensor(&[-10.0], [1]),
        groups: None,
    }
}

#[test]
fn bf16_changes_gradients_by_its_rounding() {
    let tile_size = std::num::NonZeroUsize::new(24).unwrap();
    let losses: [Box<dyn ContrastiveLoss>; 2] = [
        Box::new(SigmoidLoss::new().with_tile_size(tile_size)),
        Box::new(InfoNceLoss::new().with_tile_size(tile_size)),
    ];
    for loss in losses {
        let exact = parts(loss.gradients(batch(50, 40)).unwrap());
        let same = loss.computing_in(Dtype::F32).unwrap();
        assert_eq!(parts(same.gradients(batch(50, 40)).unwrap()), exact);
        let half = loss.computing_in(Dtype::BF16).unwrap();
        assert_eq!(half.describe(), loss.describe());
        let found = parts(half.gradients(batch(50, 40)).unwrap());
        // Without instructions for bf16, the products are in f32.
        assert_eq!(found != exact, Bf16Products::detect().is_some());
        for (found, exact) in found.iter().zip(&exact) {
            assert_close(found, exact, 0.01, 1e-9, "bf16");
        }
    }
}

#[test]
fn barlow_twins_has_no_products_in_bf16() {
    assert!(LossConfig::BarlowTwins { lambda: 5e-3 }.build().unwrap().computing_in(Dtype::BF16).is_none());
}
