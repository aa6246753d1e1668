//! Runs of 45 steps against PyTorch: same initial head, batches and learning rates, same losses and final parameters.
//!
//! `fixtures/generate.py` writes the fixture. It implements the recipe of the paper with PyTorch.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sail_core::AlignmentHead;
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{AlignmentBatch, AlignmentStep, LearningRate, OptimizerConfig, TrainConfig, optimizer};

const FIXTURE: &[u8] = include_bytes!("fixtures/torch.safetensors");
const STEPS: usize = 45;

struct Case<'a> {
    name: &'a str,
    tensors: SafeTensors<'a>,
}

impl<'a> Case<'a> {
    fn tensor(&self, name: &str) -> TensorView<'_> {
        self.tensors.tensor(&format!("{}/{name}", self.name)).unwrap()
    }

    fn matrix(&self, name: &str) -> (Vec<f32>, usize) {
        let view = self.tensor(name);
        let values = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        (values.collect(), view.shape()[1])
    }

    /// Loads a head from the tensors that PyTorch wrote.
    fn head(&self, config: &HeadConfig) -> Head {
        let prefix = format!("{}/initial/", self.name);
        let views = self.tensors.iter().filter_map(|(name, view)| Some((name.strip_prefix(&prefix)?, view)));
        let description = serde_json::json!({"version": 1, "config": config}).to_string();
        let metadata = [("sail_head".to_owned(), description)].into();
        let bytes = safetensors::serialize(views, Some(metadata)).unwrap();
        Head::from_bytes(bytes, &Device::flex().autodiff()).unwrap()
    }
}

fn f64s(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

fn check(name: &str, projector: ProjectorConfig, caption_sets: usize, config: TrainConfig) {
    let case = Case { name, tensors: SafeTensors::deserialize(FIXTURE).unwrap() };
    let device = Device::flex().autodiff();
    let (images, image_dim) = case.matrix("image");
    let texts: Vec<_> = (0..caption_sets).map(|set| case.matrix(&format!("text{set}"))).collect();
    let batches = case.tensor("batches");
    assert_eq!((batches.dtype(), batches.shape()[0]), (Dtype::I64, STEPS));
    let rows: Vec<usize> = batches
        .data()
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()) as usize)
        .collect();
    let losses = case.tensor("losses");
    let losses = losses.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));

    let mut head = case.head(&HeadConfig::new(image_dim, texts[0].1, 12, projector));
    let mut optimizer = optimizer(&config, &head);
    let (step, rate) = (AlignmentStep::new(Arc::new(SigmoidLoss::new())), LearningRate::new(&config, STEPS));

    let gather = |(values, dim): &(Vec<f32>, usize), rows: &[usize]| {
        let values: Vec<f32> =
            rows.iter().flat_map(|row| &values[row * dim..(row + 1) * dim]).copied().collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows.len(), *dim]), &device)
    };
    let images = (images, image_dim);
    for (index, (rows, expected)) in rows.chunks(batches.shape()[1]).zip(losses).enumerate() {
        let texts = texts.iter().map(|texts| gather(texts, rows)).collect();
        let found = step
            .gradients(&head, AlignmentBatch { images: gather(&images, rows), texts, groups: None })
            .unwrap();
        let loss = f64::from(found.loss.into_scalar::<f32>());
        head = optimizer.step(rate.at(index), head, found.gradients).clamp_parameters();
        let tolerance = if index == 0 { 1e-6 } else { 1e-3 };
        assert!(
            (loss / expected - 1.0).abs() < tolerance,
            "{name}, step {index}: {loss}, expected {expected}"
        );
    }

    // Compares the updates, because the parameters are dominated by their initial values.
    let bytes = head.to_bytes().unwrap();
    let head = SafeTensors::deserialize(&bytes).unwrap();
    for (parameter, view) in head.iter() {
        let of = |kind: &str| f64s(case.tensor(&format!("{kind}/{parameter}")).data());
        let (found, expected, initial) = (f64s(view.data()), of("final"), of("initial"));
        let moved = norm(expected.iter().zip(&initial).map(|(a, b)| a - b));
        let missed = norm(found.iter().zip(&expected).map(|(a, b)| a - b));
        assert!(moved > 0.0, "{name}: {parameter} did not move");
        // The sign of a gradient near zero may differ, and Lion only uses the sign.
        assert!(missed < 0.05 * moved, "{name}: {parameter} moved {moved:e} and missed by {missed:e}");
    }
}

fn lion(learning_rate: f64) -> TrainConfig {
    TrainConfig::default().with_learning_rate(learning_rate)
}

#[test]
fn linear() {
    check("linear", ProjectorConfig::Linear {}, 1, lion(1e-3));
}

#[test]
fn mlp() {
    check("mlp", ProjectorConfig::MLP, 1, lion(1e-3));
}

#[test]
fn glu_with_decay() {
    check("glu", ProjectorConfig::Glu { width: 2 }, 1, lion(1e-3).with_weight_decay(1.0));
}

#[test]
fn glu_with_two_extra_caption_sets() {
    check("glu_extra", ProjectorConfig::Glu { width: 2 }, 3, lion(1e-3));
}

#[test]
fn adamw_with_decay_of_matrices_alone() {
    let config = lion(3e-3).with_optimizer(OptimizerConfig::ADAMW).with_weight_decay(0.3);
    check("glu_adamw", ProjectorConfig::Glu { width: 2 }, 1, config);
}
