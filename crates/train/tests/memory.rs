//! What a step holds. A test binary of its own: the peak is that of the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::tensor::{Device, Distribution, Tensor};
use burn::train::TrainStep;
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{AlignmentBatch, AlignmentTask};

/// The largest resident size of this process so far, in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[test]
fn a_step_in_chunks_holds_neither_all_pairs_nor_all_activations() {
    let device = Device::flex().autodiff();
    let rows = 8192;
    let random = || Tensor::<2>::random([rows, 16], Distribution::Normal(0.0, 1.0), &device);
    let batch = AlignmentBatch { images: random(), texts: vec![random()] };
    // 4,096 hidden numbers a row: 128 MiB for the batch, of which autodiff would keep several.
    let config = HeadConfig::new(16, 16, 8, ProjectorConfig::Glu { width: 256 });
    let head = Head::new(&config, 0, &device).unwrap();
    let task = AlignmentTask::new(head, Arc::new(SigmoidLoss::new()));
    let task = task.with_chunk(NonZeroUsize::new(256));
    let before = peak();
    let output = TrainStep::step(&task, batch);
    assert!(output.item.read().unwrap()[0] > 0.0);
    // One matrix of all pairs would take 256 MiB.
    let grown = peak() - before;
    assert!(grown < 128, "{grown} MiB");
}
