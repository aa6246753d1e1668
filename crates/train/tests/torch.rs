//! Twenty steps against the PyTorch yardstick: same initial head, batches and learning rates, same losses.
//!
//! `fixtures/generate.py` writes what is compared with here.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use burn::train::Learner;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sail_core::AlignmentHead;
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{AlignmentBatch, AlignmentTask, TrainConfig, WarmupCosine, optimizer};

const FIXTURE: &[u8] = include_bytes!("fixtures/torch.safetensors");
const STEPS: usize = 20;

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

    /// A head file made of the tensors that PyTorch wrote.
    fn head(&self, config: &HeadConfig) -> Head {
        let prefix = format!("{}/initial/", self.name);
        let views = self.tensors.iter().filter_map(|(name, view)| Some((name.strip_prefix(&prefix)?, view)));
        let description = serde_json::json!({"version": 1, "config": config}).to_string();
        let metadata = [("sail_head".to_owned(), description)].into();
        let bytes = safetensors::serialize(views, Some(metadata)).unwrap();
        Head::from_bytes(bytes, &Device::flex().autodiff()).unwrap()
    }
}

fn f32s(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))).collect()
}

fn check(name: &str, projector: ProjectorConfig, caption_sets: usize, learning_rate: f64) {
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

    let config = TrainConfig { learning_rate, ..TrainConfig::default() };
    let head = case.head(&HeadConfig::new(image_dim, texts[0].1, 12, projector));
    let task = AlignmentTask::new(head, Arc::new(SigmoidLoss::new()));
    let optimizer = optimizer(&config, &task);
    let schedule = WarmupCosine::new(learning_rate, STEPS, config.warmup, 0);
    let mut learner = Learner::new(task, optimizer, schedule);

    let gather = |(values, dim): &(Vec<f32>, usize), rows: &[usize]| {
        let values: Vec<f32> =
            rows.iter().flat_map(|row| &values[row * dim..(row + 1) * dim]).copied().collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows.len(), *dim]), &device)
    };
    let images = (images, image_dim);
    for (step, (rows, expected)) in rows.chunks(batches.shape()[1]).zip(losses).enumerate() {
        let texts = texts.iter().map(|texts| gather(texts, rows)).collect();
        let output = learner.train_step(AlignmentBatch { images: gather(&images, rows), texts });
        learner.lr_step();
        learner.optimizer_step(output.grads);
        let [found, ..] = output.item.read().unwrap();
        let tolerance = if step == 0 { 1e-6 } else { 1e-4 };
        assert!(
            (found / expected - 1.0).abs() < tolerance,
            "{name}, step {step}: {found}, expected {expected}"
        );
    }

    // The sign of a gradient near zero may flip, so parameters are compared by direction.
    let bytes = learner.model().head().to_bytes().unwrap();
    let head = SafeTensors::deserialize(&bytes).unwrap();
    let found: BTreeMap<_, _> = head.iter().map(|(name, view)| (name, f32s(view.data()))).collect();
    for (name, found) in found {
        let expected = f32s(case.tensor(&format!("final/{name}")).data());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = dot(&found, &expected) / (dot(&found, &found) * dot(&expected, &expected)).sqrt();
        assert!(cosine > 0.9999, "{}: cosine of `{name}` is {cosine}", case.name);
    }
}

#[test]
fn linear() {
    check("linear", ProjectorConfig::Linear {}, 1, 3e-4);
}

#[test]
fn mlp() {
    check("mlp", ProjectorConfig::MLP, 1, 1e-3);
}

#[test]
fn glu() {
    check("glu", ProjectorConfig::Glu { width: 2 }, 1, 1e-3);
}

#[test]
fn glu_with_two_extra_caption_sets() {
    check("glu_extra", ProjectorConfig::Glu { width: 2 }, 3, 1e-3);
}
