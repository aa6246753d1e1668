//! Micro-batches and several devices compute the gradient of the full batch.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use sail_core::ContrastiveLoss;
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_losses::{InfoNceLoss, SigmoidLoss};
use sail_train::{AlignmentBatch, AlignmentStep, TrainConfig, TrainError, Trainer};

const ROWS: usize = 24;

fn batch(rows: usize, caption_sets: usize, device: &Device) -> AlignmentBatch {
    device.seed(3);
    let random = |dim| Tensor::random([rows, dim], Distribution::Normal(0.0, 1.0), device);
    AlignmentBatch { images: random(10), texts: (0..caption_sets).map(|_| random(6)).collect() }
}

/// Compares the gradients of every parameter by the norm of their difference.
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
fn gradients_equal_those_of_the_full_batch() {
    let device = Device::flex().autodiff();
    let losses: [Arc<dyn ContrastiveLoss>; 2] = [Arc::new(SigmoidLoss::new()), Arc::new(InfoNceLoss::new())];
    for projector in [
        ProjectorConfig::Linear {},
        ProjectorConfig::MLP,
        ProjectorConfig::Glu { width: 2 },
        ProjectorConfig::SwiGlu { width: 2 },
        ProjectorConfig::ResidualMlp { expansion: 2, depth: 2, dropout: 0.0 },
    ] {
        let head = Head::new(&HeadConfig::new(10, 6, 8, projector.clone()), 0, &device).unwrap();
        for loss in &losses {
            for caption_sets in [1, 3] {
                let batch = batch(ROWS, caption_sets, &device);
                let step = |rows: Option<usize>, others: usize| {
                    let found = AlignmentStep::new(loss.clone())
                        .with_devices(vec![Device::flex(); others])
                        .with_micro_batch(rows.map(|rows| NonZeroUsize::new(rows).unwrap()))
                        .gradients(&head, batch.clone())
                        .unwrap();
                    (found.gradients, found.loss.into_scalar::<f32>())
                };
                let (expected, value) = step(None, 0);
                let micro_batches = [1, 7, 8, ROWS - 1].map(|rows| (Some(rows), 0));
                // Several devices, with rows that do not divide evenly, and micro-batches of each device's rows.
                for (rows, others) in micro_batches.into_iter().chain([(None, 1), (None, 4), (Some(5), 1)]) {
                    let (found, found_value) = step(rows, others);
                    let mut compare = Compare { found: &found, expected: &expected, parameters: 0 };
                    head.visit(&mut compare);
                    assert!(compare.parameters >= 4, "{projector:?}");
                    assert!((found_value / value - 1.0).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn supports_a_side_without_parameters() {
    let device = Device::flex().autodiff();
    let mut config = HeadConfig::new(10, 6, 10, ProjectorConfig::Linear {});
    config.image = Some(SideConfig { norm: false, ..SideConfig::new(10, ProjectorConfig::Identity {}) });
    let head = Head::new(&config, 0, &device).unwrap();
    let found = AlignmentStep::new(Arc::new(SigmoidLoss::new()))
        .with_micro_batch(NonZeroUsize::new(5))
        .gradients(&head, batch(ROWS, 1, &device))
        .unwrap();
    assert!(found.loss.into_scalar::<f32>().is_finite() && !found.gradients.is_empty());
}

#[test]
fn rejects_micro_batches_with_batch_norm_or_dropout() {
    let features = |dim: usize| {
        let values = (0..ROWS * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap())
    };
    for projector in [
        ProjectorConfig::ShareLock { hidden: 8, layers: 2, dropout: 0.0 },
        ProjectorConfig::ResidualMlp { expansion: 2, depth: 2, dropout: 0.1 },
    ] {
        let head = Head::new(&HeadConfig::new(10, 6, 8, projector), 0, &Device::flex()).unwrap();
        let trainer = |rows: usize| {
            let config = TrainConfig::default().with_batch_size(ROWS).with_epochs(1);
            let pairs = Pairs::new(features(10), vec![features(6)]).unwrap();
            Trainer::new(config, head.clone(), Arc::new(SigmoidLoss::new()), pairs)
                .micro_batch(NonZeroUsize::new(rows).unwrap())
        };
        assert!(matches!(trainer(8).check(), Err(TrainError::MicroBatch { rows: 8 })));
        trainer(ROWS).check().unwrap();
    }
}
