//! Peak memory of a step. A separate test binary, because the allocator is that of the process.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Distribution, Tensor};
use peak_alloc::PeakAlloc;
use sail_core::{AlignmentHead, Side, TokenLayout};
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_losses::{Gram, SigmoidLoss};
use sail_train::{AlignmentBatch, AlignmentStep, Auxiliary, Event, TrainConfig, TrainError, Trainer};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Returns the result of `work` and the largest increase of the allocated memory meanwhile, in bytes.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage() - before)
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
    let (found, grown) = measured(|| step.gradients(&head, batch).unwrap());
    assert!(found.loss.into_scalar::<f32>() > 0.0);
    // A logit matrix of the whole batch would take 256 MiB.
    assert!(grown < 128 * MIB, "{grown} bytes");
}

fn config(projector: ProjectorConfig) -> HeadConfig {
    HeadConfig::new(64, 48, 32, projector)
}

/// Runs one step. Returns its micro-batch size and the largest increase of the memory in bytes.
fn step(
    config: HeadConfig,
    terms: Vec<Auxiliary>,
    batch: usize,
    budget: u64,
) -> Result<(Option<usize>, usize), TrainError> {
    let features = |dim: usize| {
        let values = (0..batch * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap())
    };
    let [images, texts] = [&config.image, &config.text].map(|side| features(side.as_ref().unwrap().input));
    let pairs = Pairs::new(images, vec![texts]).unwrap();
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    let config = TrainConfig::default().with_batch_size(batch).with_epochs(1);
    let mut chosen = None;
    let observe = |event: Event<'_>, _: &Head| {
        if let Event::Started { micro_batch, .. } = event {
            chosen = micro_batch.map(NonZeroUsize::get);
        }
    };
    let trainer = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs);
    let trainer = terms.into_iter().fold(trainer, Trainer::auxiliary);
    let (run, grown) = measured(|| trainer.memory(budget).observer(observe).run());
    run?;
    Ok((chosen, grown))
}

#[test]
fn every_layer_stays_within_its_budget() {
    let _alone = ALONE.lock().unwrap();
    let budget = 256 * MIB;
    for projector in [
        ProjectorConfig::Glu { width: 32 },
        ProjectorConfig::SwiGlu { width: 32 },
        ProjectorConfig::Mlp { expansion: 32 },
    ] {
        let (micro_batch, grown) = step(config(projector.clone()), vec![], 16_384, budget as u64).unwrap();
        assert!(micro_batch.is_some_and(|rows| rows < 16_384), "{projector:?}: {micro_batch:?}");
        assert!(grown <= budget, "{projector:?}: {grown} of {budget} bytes");
    }
}

/// The memory of a step grows with the micro-batch by the estimate of the head or less, and not by far less.
#[test]
fn layers_of_tokens_need_the_memory_that_they_estimate() {
    let _alone = ALONE.lock().unwrap();
    let device = Device::flex().autodiff();
    let layout = TokenLayout::Image { class_token: true, grid: [8, 8], dim: 32 };
    for projector in
        [ProjectorConfig::Token {}, ProjectorConfig::TokenTransformer { depth: 2, head_width: 8 }]
    {
        let image = SideConfig::of_tokens(layout, projector.clone());
        let config = HeadConfig { image: Some(image), ..config(ProjectorConfig::Linear {}) };
        let head = Head::new(&config, 0, &device).unwrap();
        let random = |dim| Tensor::<2>::random([512, dim], Distribution::Normal(0.0, 1.0), &device);
        let batch =
            AlignmentBatch { images: random(layout.row_values()), texts: vec![random(48)], groups: None };
        let peak = |rows| {
            let step =
                AlignmentStep::new(Arc::new(SigmoidLoss::new())).with_micro_batch(NonZeroUsize::new(rows));
            measured(|| step.gradients(&head, batch.clone()).unwrap()).1
        };
        let found = (peak(256) - peak(64)) / (256 - 64) / size_of::<f32>();
        let estimate = head.activations(Side::Image).unwrap();
        assert!((estimate / 3..=estimate).contains(&found), "{projector:?}: {found}, estimated {estimate}");
    }
}

/// The cosines of all patches of the batch would take 512 MiB.
#[test]
fn the_gram_loss_stays_within_its_budget() {
    let _alone = ALONE.lock().unwrap();
    let budget = 256 * MIB;
    let layout = TokenLayout::Image { class_token: true, grid: [16, 16], dim: 8 };
    let image = SideConfig::of_tokens(layout, ProjectorConfig::Token {});
    let config = HeadConfig { image: Some(image), ..config(ProjectorConfig::Linear {}) };
    let gram = Auxiliary::new(Gram::new(layout).unwrap(), 1.0);
    let (micro_batch, grown) = step(config, vec![gram], 2048, budget as u64).unwrap();
    assert!(micro_batch.is_some_and(|rows| rows < 2048), "{micro_batch:?}");
    assert!(grown <= budget, "{grown} of {budget} bytes");
}

#[test]
fn insufficient_budget_error_states_the_minimum() {
    let _alone = ALONE.lock().unwrap();
    let Err(TrainError::Memory { least, .. }) =
        step(config(ProjectorConfig::Glu { width: 2 }), vec![], 512, 1 << 20)
    else {
        panic!("a step in 1 MiB");
    };
    assert!(step(config(ProjectorConfig::Glu { width: 2 }), vec![], 512, least).unwrap().0.is_some());
}
