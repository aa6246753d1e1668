//! Tiled losses never hold all pairs at once. A separate binary, because peak memory is per process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor};
use sail_core::{AuxiliaryBatch, AuxiliaryLoss, ContrastiveLoss, EmbeddingBatch, Groups, l2_normalize};
use sail_losses::{InfoNceLoss, Klot, SigmoidLoss, Sinkhorn, Structure};

/// Peak resident memory of this process, in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[test]
fn memory_is_not_quadratic_in_the_batch_size() {
    let device = Device::flex();
    let rows = 8192;
    let random = || l2_normalize(Tensor::random([rows, 8], Distribution::Normal(0.0, 1.0), &device));
    let batch = EmbeddingBatch {
        images: random(),
        texts: vec![random(), random()],
        log_scale: Tensor::from_floats([20f32.ln()], &device),
        bias: Tensor::from_floats([-10.0], &device),
        groups: None,
    };
    // Every image occurs twice.
    let groups = Groups::of_rows((0..rows as u32).map(|row| row / 2).collect::<Vec<_>>());
    let grouped = EmbeddingBatch { groups: Some(groups), ..batch.clone() };
    let cases: [(&dyn ContrastiveLoss, _); 3] =
        [(&SigmoidLoss::new(), batch.clone()), (&InfoNceLoss::new(), batch), (&SigmoidLoss::new(), grouped)];
    for (loss, batch) in cases {
        let before = peak();
        let gradients = loss.gradients(batch).unwrap();
        assert!(gradients.value.into_scalar::<f32>() > 0.0);
        // One matrix of all pairs takes 256 MiB.
        let grown = peak() - before;
        assert!(grown < 128, "{grown} MiB");
    }

    // Nor are the transport plans of KLOT.
    let before = peak();
    let klot = Klot::new(Sinkhorn::new(0.5), Sinkhorn::new(0.3));
    let found = klot.gradients([random(), random()], [random(), random()]).unwrap();
    assert!(found.value.into_scalar::<f32>() > 0.0);
    let grown = peak() - before;
    assert!(grown < 128, "{grown} MiB");

    // Nor the powers of STRUCTURE's matrices, of which one takes 64 MiB for 4,096 rows.
    let random = || l2_normalize(Tensor::random([4096, 8], Distribution::Normal(0.0, 1.0), &device));
    let (features, embeddings) = (random(), random());
    let batch = AuxiliaryBatch {
        image_features: features.clone(),
        text_features: vec![features],
        images: embeddings.clone(),
        texts: vec![embeddings],
    };
    for levels in [1, 2] {
        let before = peak();
        let structure = Structure::default().with_levels(levels).with_block_rows(64);
        assert!(structure.gradients(&batch).unwrap().value.into_scalar::<f32>() > 0.0);
        let grown = peak() - before;
        assert!(grown < 48, "{grown} MiB");
    }
}
