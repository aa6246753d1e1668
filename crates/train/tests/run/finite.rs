//! Gradients that are not finite, and devices that fail.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use sail_core::{ContrastiveLoss, Dtype, EmbeddingBatch, LossError, LossGradients};
use sail_losses::SigmoidLoss;
use sail_train::{TrainError, Trainer};

use crate::controls::values;
use crate::{config, folder, head, pairs};

/// The sigmoid loss, with a gradient that is not finite in one call, or a panic as of a backend for `f32::MIN`.
struct Broken {
    value: f32,
    at: std::sync::atomic::AtomicUsize,
}

impl ContrastiveLoss for Broken {
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        SigmoidLoss::new().forward(batch)
    }

    fn gradients(&self, batch: EmbeddingBatch) -> Result<LossGradients, LossError> {
        let mut loss = SigmoidLoss::new().gradients(batch)?;
        let failing = self.value == f32::MIN;
        if self.at.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            assert!(!failing, "the device is lost");
            let rows = loss.texts[0].dims()[0];
            let row = Tensor::<2>::zeros([1, 8], &Device::flex()) + self.value;
            loss.texts[0] = Tensor::cat(vec![row, loss.texts[0].clone().slice(1..rows)], 0);
        }
        Ok(loss)
    }
}

#[test]
fn a_run_that_fails_keeps_its_checkpoint() {
    let parent = tempfile::tempdir().unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::MIN] {
        // The first call is the dry run.
        let loss = Arc::new(Broken { value, at: 4.into() });
        let path = parent.path().join(value.to_string());
        let train = pairs().split(12, 0).unwrap().train;
        let found = Trainer::new(config(), head(), loss, train)
            .folder(folder(&path))
            .checkpoint_every(Duration::ZERO)
            .run();
        match found {
            Err(TrainError::Device(source)) => assert_eq!(source.to_string(), "the device is lost"),
            Err(TrainError::NotFinite { what: "the gradient", step: 3, .. }) => assert!(!value.is_finite()),
            other => panic!("{value}: {other:?}"),
        }
        // The previous checkpoint is valid.
        let train = pairs().split(12, 0).unwrap().train;
        let loss = Arc::new(Broken { value, at: usize::MAX.into() });
        let again = Trainer::new(config(), head(), loss, train).folder(folder(&path)).run().unwrap();
        assert_eq!(again.history.steps.len(), 15);
    }
}

#[test]
fn an_f16_step_that_overflows_is_skipped_and_the_scale_halved() {
    let loss = Arc::new(Broken { value: f32::NAN, at: 4.into() });
    let train = pairs().split(12, 0).unwrap().train;
    let config = config().with_precision(Dtype::F16);
    let outcome = Trainer::new(config, head(), loss, train).run().unwrap();
    let skipped: Vec<usize> =
        outcome.history.steps.iter().filter(|step| step.skipped).map(|step| step.step).collect();
    assert_eq!((skipped, outcome.history.steps.len()), (vec![3], 15));
    assert!(values(&outcome.head).values().flatten().all(|value| value.is_finite()));
}
