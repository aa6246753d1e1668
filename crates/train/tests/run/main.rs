//! What a run does beside its steps.
#![allow(clippy::unwrap_used, clippy::panic)]

mod auxiliary;
mod controls;
mod evaluation;
mod finite;
mod positives;
mod resume;
mod tokens;

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::AlignmentHead;
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{Event, Interrupter, Interval, ParameterGroup, RunFolder, TrainConfig, Trainer};

pub(crate) const ROWS: usize = 48;

pub(crate) fn pairs_with(prefix: &str) -> Pairs {
    let noise = |i: usize| (((i * 7919 + 13) as f64).sin() * 43_758.545_3).rem_euclid(1.0) as f32 - 0.5;
    let keys: Vec<String> = (0..ROWS).map(|row| format!("{prefix}{row}")).collect();
    let features = |dim: usize| {
        let values = (0..ROWS * dim).map(|i| noise(i / dim * 16 + i % dim)).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap().with_keys(keys.clone()).unwrap())
    };
    Pairs::new(features(10), vec![features(6)]).unwrap()
}

pub(crate) fn pairs() -> Pairs {
    pairs_with("k")
}

pub(crate) fn head() -> Head {
    Head::new(&HeadConfig::new(10, 6, 8, ProjectorConfig::Glu { width: 2 }), 0, &Device::flex()).unwrap()
}

pub(crate) fn config() -> TrainConfig {
    TrainConfig::default().with_batch_size(12).with_epochs(5).with_learning_rate(1e-2)
}

pub(crate) fn trainer<'a>(config: TrainConfig) -> Trainer<'a, Head> {
    let split = pairs().split(12, 0).unwrap();
    Trainer::new(config, head(), Arc::new(SigmoidLoss::new()), split.train).holdout(split.holdout)
}

pub(crate) fn folder(path: &Path) -> RunFolder {
    match path.exists() {
        true => RunFolder::resume(path, &serde_json::json!({})).unwrap(),
        false => RunFolder::create(path, &serde_json::json!({})).unwrap(),
    }
}

/// Stops a run after `at` steps.
pub(crate) fn stopped_at(trainer: Trainer<'static, Head>, at: usize) -> Trainer<'static, Head> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    trainer.interrupter(interrupter).observer(move |event: Event<'_>, _: &Head| {
        // Takes effect before the next step.
        if let Event::Step(step) = event
            && step.step + 1 == at
        {
            handle.stop();
        }
    })
}

pub(crate) fn bytes(head: &Head) -> Vec<u8> {
    head.to_bytes().unwrap()
}

/// Returns a configuration with every kind of state.
pub(crate) fn with_all_state() -> TrainConfig {
    config()
        .with_ema_decay(0.9)
        .with_max_gradient_norm(0.01)
        .with_evaluate_every(Interval::epochs(1))
        .with_parameter_groups(vec![ParameterGroup::new("text").with_learning_rate_scale(0.5)])
}
