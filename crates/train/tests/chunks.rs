//! A step in chunks is the undivided step, and neither grows with the square of the batch.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use burn::train::TrainStep;
use sail_core::ContrastiveLoss;
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_losses::{InfoNceLoss, SigmoidLoss};
use sail_train::{AlignmentBatch, AlignmentTask, TrainConfig, TrainError, Trainer};

const ROWS: usize = 24;

fn batch(rows: usize, caption_sets: usize, device: &Device) -> AlignmentBatch {
    device.seed(3);
    let random = |dim| Tensor::random([rows, dim], Distribution::Normal(0.0, 1.0), device);
    AlignmentBatch { images: random(10), texts: (0..caption_sets).map(|_| random(6)).collect() }
}

/// Compares the gradients of every parameter by the length of their difference.
struct Compare<'a> {
    found: &'a GradientsParams,
    expected: &'a GradientsParams,
    parameters: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let length = |x: Tensor<D>| (x.clone() * x).sum().sqrt().into_scalar::<f32>();
        let (found, expected) =
            (self.found.get::<D>(param.id).unwrap(), self.expected.get::<D>(param.id).unwrap());
        let difference = length(found - expected.clone());
        let size = length(expected);
        assert!(difference <= 1e-4 * size, "{difference:e} of {size:e}");
        self.parameters += 1;
    }
}

#[test]
fn gradients_are_those_of_the_undivided_step() {
    let device = Device::flex().autodiff();
    let losses: [Arc<dyn ContrastiveLoss>; 2] = [Arc::new(SigmoidLoss::new()), Arc::new(InfoNceLoss::new())];
    for projector in [
        ProjectorConfig::Linear {},
        ProjectorConfig::MLP,
        ProjectorConfig::Glu { width: 2 },
        ProjectorConfig::SwiGlu { width: 2 },
    ] {
        let head = Head::new(&HeadConfig::new(10, 6, 8, projector.clone()), 0, &device).unwrap();
        for loss in &losses {
            for caption_sets in [1, 3] {
                let batch = batch(ROWS, caption_sets, &device);
                let step = |chunk: Option<usize>, others: usize| {
                    let task = AlignmentTask::new(head.clone(), loss.clone())
                        .with_devices(vec![Device::flex(); others])
                        .with_chunk(chunk.map(|rows| NonZeroUsize::new(rows).unwrap()));
                    let output = TrainStep::step(&task, batch.clone());
                    (output.grads, output.item.read().unwrap())
                };
                let (expected, values) = step(None, 0);
                let chunks = [1, 7, 8, ROWS - 1].map(|chunk| (Some(chunk), 0));
                // Several devices, with rows that do not divide evenly, and chunks of each device's rows.
                for (chunk, others) in chunks.into_iter().chain([(None, 1), (None, 4), (Some(5), 1)]) {
                    let (found, found_values) = step(chunk, others);
                    let mut compare = Compare { found: &found, expected: &expected, parameters: 0 };
                    head.visit(&mut compare);
                    assert!(compare.parameters >= 4, "{projector:?}");
                    assert!((found_values[0] / values[0] - 1.0).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn one_side_may_have_no_parameters() {
    let device = Device::flex().autodiff();
    let mut config = HeadConfig::new(10, 6, 10, ProjectorConfig::Linear {});
    config.image = Some(SideConfig { norm: false, ..SideConfig::new(10, ProjectorConfig::Identity {}) });
    let head = Head::new(&config, 0, &device).unwrap();
    let task = AlignmentTask::new(head, Arc::new(SigmoidLoss::new()))
        .with_chunk(Some(NonZeroUsize::new(5).unwrap()));
    let output = TrainStep::step(&task, batch(ROWS, 1, &device));
    assert!(output.item.read().unwrap()[0].is_finite() && !output.grads.is_empty());
}

#[test]
fn a_head_with_batch_norm_is_not_cut() {
    let features = |dim: usize| {
        let values = (0..ROWS * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap())
    };
    let sharelock = ProjectorConfig::ShareLock { hidden: 8, layers: 2, dropout: 0.0 };
    let head = Head::new(&HeadConfig::new(10, 6, 8, sharelock), 0, &Device::flex()).unwrap();
    let trainer = |chunk: usize| {
        let config = TrainConfig { batch: ROWS, epochs: 1, ..TrainConfig::default() };
        let pairs = Pairs::new(features(10), vec![features(6)]).unwrap();
        Trainer::new(config, head.clone(), Arc::new(SigmoidLoss::new()), pairs)
            .chunk(NonZeroUsize::new(chunk).unwrap())
    };
    assert!(matches!(trainer(8).check(), Err(TrainError::Chunk { rows: 8 })));
    trainer(ROWS).check().unwrap();
}
