//! Tiled losses never hold all pairs at once. A separate binary, because peak memory is per process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor};
use sail_core::{ContrastiveLoss, EmbeddingBatch, Groups, l2_normalize};
use sail_losses::{InfoNceLoss, SigmoidLoss};

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
}
