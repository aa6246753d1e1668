//! Peak memory of a step. A separate test binary, because the peak is that of the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Distribution, Tensor};
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{AlignmentBatch, AlignmentStep, Event, TrainConfig, TrainError, Trainer};

/// Returns a size of this process in MiB.
fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

/// Returns the peak resident size.
fn peak() -> usize {
    status("VmHWM")
}

/// Returns the current resident size.
fn resident() -> usize {
    status("VmRSS")
}

/// Prevents tests from running concurrently and adding to each other's peak.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn micro_batches_store_neither_all_logits_nor_all_activations() {
    let _alone = ALONE.lock().unwrap();
    let device = Device::flex().autodiff();
    let rows = 8192;
    let random = || Tensor::<2>::random([rows, 16], Distribution::Normal(0.0, 1.0), &device);
    let batch = AlignmentBatch { images: random(), texts: vec![random()], groups: None };
    // 4,096 hidden values per row: 128 MiB per activation of the batch, of which autodiff would keep several.
    let config = HeadConfig::new(16, 16, 8, ProjectorConfig::Glu { width: 256 });
    let head = Head::new(&config, 0, &device).unwrap();
    let step = AlignmentStep::new(Arc::new(SigmoidLoss::new())).with_micro_batch(NonZeroUsize::new(256));
    let before = peak();
    let found = step.gradients(&head, batch).unwrap();
    assert!(found.loss.into_scalar::<f32>() > 0.0);
    // A logit matrix of the whole batch would take 256 MiB.
    let grown = peak() - before;
    assert!(grown < 128, "{grown} MiB");
}

/// Runs one step. Returns its micro-batch size and the increase of the peak in MiB.
fn step(projector: ProjectorConfig, batch: usize, budget: u64) -> Result<(Option<usize>, usize), TrainError> {
    let features = |dim: usize| {
        let values = (0..batch * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap())
    };
    let pairs = Pairs::new(features(64), vec![features(48)]).unwrap();
    let head = Head::new(&HeadConfig::new(64, 48, 32, projector), 0, &Device::flex()).unwrap();
    let config = TrainConfig::default().with_batch_size(batch).with_epochs(1);
    let mut chosen = None;
    let observe = |event: Event<'_>, _: &Head| {
        if let Event::Started { micro_batch, .. } = event {
            chosen = micro_batch.map(NonZeroUsize::get);
        }
    };
    let before = resident();
    let loss = Arc::new(SigmoidLoss::new());
    Trainer::new(config, head, loss, pairs).memory(budget).observer(observe).run()?;
    Ok((chosen, peak().saturating_sub(before)))
}

#[test]
fn every_layer_stays_within_its_budget() {
    let _alone = ALONE.lock().unwrap();
    const MIB: u64 = 1 << 20;
    // The peak of a process never decreases, so the budgets increase.
    for (index, projector) in [
        ProjectorConfig::Glu { width: 32 },
        ProjectorConfig::SwiGlu { width: 32 },
        ProjectorConfig::Mlp { expansion: 32 },
    ]
    .into_iter()
    .enumerate()
    {
        let budget = (256 + 64 * index as u64) * MIB;
        let (micro_batch, grown) = step(projector.clone(), 16_384, budget).unwrap();
        assert!(micro_batch.is_some_and(|rows| rows < 16_384), "{projector:?}: {micro_batch:?}");
        assert!(grown as u64 <= budget / MIB, "{projector:?}: {grown} MiB of {}", budget / MIB);
    }
}

#[test]
fn insufficient_budget_error_states_the_minimum() {
    let _alone = ALONE.lock().unwrap();
    let Err(TrainError::Memory { least, .. }) = step(ProjectorConfig::Glu { width: 2 }, 512, 1 << 20) else {
        panic!("a step in 1 MiB");
    };
    assert!(step(ProjectorConfig::Glu { width: 2 }, 512, least).unwrap().0.is_some());
}
