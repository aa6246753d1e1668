//! Tiled losses never hold all pairs at once. A separate binary, because the allocator is that of the process.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use burn::tensor::{Device, Distribution, Tensor};
use peak_alloc::PeakAlloc;
use sail_core::{AuxiliaryBatch, AuxiliaryLoss, ContrastiveLoss, EmbeddingBatch, Groups, l2_normalize};
use sail_losses::{InfoNceLoss, Klot, SigmoidLoss, Sinkhorn, Structure};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const ROWS: usize = 2048;
/// A matrix of all pairs.
const MATRIX: usize = 4 * ROWS * ROWS;
const TILE: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// Asserts that `work` allocates at most a quarter of a matrix of all pairs at any time.
fn assert_small(name: &str, work: impl FnOnce() -> Tensor<1>) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    assert!(work().into_scalar::<f32>() > 0.0, "{name}");
    let grown = ALLOCATOR.peak_usage() - before;
    assert!(grown < MATRIX / 4, "{name}: {grown} of {MATRIX} bytes");
}

#[test]
fn memory_is_not_quadratic_in_the_batch_size() {
    let device = Device::flex();
    let random = || l2_normalize(Tensor::random([ROWS, 8], Distribution::Normal(0.0, 1.0), &device));
    let batch = EmbeddingBatch {
        images: random(),
        texts: vec![random(), random()],
        log_scale: Tensor::from_floats([20f32.ln()], &device),
        bias: Tensor::from_floats([-10.0], &device),
        groups: None,
    };
    // Every image occurs twice.
    let groups = Groups::of_rows((0..ROWS as u32).map(|row| row / 2).collect::<Vec<_>>());
    let grouped = EmbeddingBatch { groups: Some(groups), ..batch.clone() };
    let sigmoid = SigmoidLoss::new().with_tile_size(TILE);
    let info_nce = InfoNceLoss::new().with_tile_size(TILE);
    let cases: [(&str, &dyn ContrastiveLoss, _); 3] = [
        ("sigmoid", &sigmoid, batch.clone()),
        ("info-nce", &info_nce, batch),
        ("sigmoid of groups", &sigmoid, grouped),
    ];
    for (name, loss, batch) in cases {
        assert_small(name, || loss.gradients(batch).unwrap().value);
    }

    // Nor are the transport plans of KLOT.
    let klot = Klot::new(Sinkhorn::new(0.5), Sinkhorn::new(0.3)).with_tile_size(TILE);
    let [student, teacher] = [[random(), random()], [random(), random()]];
    assert_small("klot", || klot.gradients(student, teacher).unwrap().value);

    // Nor the powers of STRUCTURE's matrices.
    let (features, embeddings) = (random(), random());
    let batch = AuxiliaryBatch {
        image_features: features.clone(),
        text_features: vec![features],
        images: embeddings.clone(),
        texts: vec![embeddings],
    };
    for levels in [1, 2] {
        let structure = Structure::default().with_levels(levels).with_block_rows(32);
        assert_small("structure", || structure.gradients(&batch).unwrap().value);
    }
}
