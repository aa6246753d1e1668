//! Training with the head's layers in half precision.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use sail_core::{ContrastiveLoss, Dtype, EmbeddingBatch, LossError, LossGradients};
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::SigmoidLoss;
use sail_train::{AlignmentBatch, AlignmentStep, TrainConfig, TrainError, Trainer};

const ROWS: usize = 24;

/// The sigmoid loss times a constant.
struct Times(f32);

impl ContrastiveLoss for Times {
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        Ok(SigmoidLoss::new().forward(batch)? * self.0)
    }

    fn gradients(&self, batch: EmbeddingBatch) -> Result<LossGradients, LossError> {
        let loss = SigmoidLoss::new().gradients(batch)?;
        Ok(LossGradients {
            value: loss.value * self.0,
            images: loss.images * self.0,
            texts: loss.texts.into_iter().map(|texts| texts * self.0).collect(),
            log_scale: loss.log_scale * self.0,
            bias: loss.bias * self.0,
        })
    }
}

/// Collects the unscaled gradients of a step by parameter.
struct Gradients<'a>(&'a GradientsParams, f32, Vec<Vec<f32>>);

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.0.get::<D>(param.id).unwrap();
        assert_eq!(gradient.dtype(), DType::F32);
        let values = gradient.into_data();
        self.2.push(values.iter::<f32>().map(|x| x * self.1).collect());
    }
}

fn head(projector: ProjectorConfig) -> Head {
    Head::new(&HeadConfig::new(10, 6, 8, projector), 0, &Device::flex().autodiff()).unwrap()
}

fn gradients(head: &Head, loss: f32, precision: Dtype, micro_batch: Option<usize>) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    // The random generator of `flex` is global to the process and shared with concurrent tests, so it is not used.
    let features = |dim: usize, seed: f64| {
        // Pseudorandom noise of unit variance: the trailing digits of a sine.
        let noise = |i: usize| ((i as f64 + seed).sin() * 43_758.545_3).rem_euclid(1.0) - 0.5;
        let values: Vec<f32> = (0..ROWS * dim).map(|i| (12f64.sqrt() * noise(i)) as f32).collect();
        Tensor::<1>::from_floats(values.as_slice(), &device).reshape([ROWS, dim])
    };
    let batch = AlignmentBatch { images: features(10, 0.4), texts: vec![features(6, 0.7)] };
    let found = AlignmentStep::new(Arc::new(Times(loss)))
        .with_precision(precision)
        .with_micro_batch(micro_batch.and_then(NonZeroUsize::new))
        .gradients(head, batch)
        .unwrap();
    assert!(found.loss.into_scalar::<f32>().is_finite());
    let mut gradients = Gradients(&found.gradients, found.unscale, Vec::new());
    head.visit(&mut gradients);
    gradients.2
}

/// Returns the norm of the difference relative to the expected norm. In bf16, it is 0.02 to 0.07 for such small
/// batches, depending on how many ReLU inputs change their sign, so the batch is fixed.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = length(&mut found.iter().zip(expected).map(|(f, e)| f64::from(f - e)));
    difference / length(&mut expected.iter().map(|&e| f64::from(e)))
}

#[test]
fn gradients_match_f32_within_the_precision() {
    for projector in [
        ProjectorConfig::Linear {},
        ProjectorConfig::MLP,
        ProjectorConfig::Glu { width: 2 },
        ProjectorConfig::SwiGlu { width: 2 },
        ProjectorConfig::ResidualMlp { expansion: 2, depth: 2, dropout: 0.0 },
    ] {
        let head = head(projector.clone());
        let expected = gradients(&head, 1.0, Dtype::F32, None);
        for (precision, allowed) in [(Dtype::BF16, 0.05), (Dtype::F16, 0.01)] {
            for micro_batch in [None, Some(7)] {
                let found = gradients(&head, 1.0, precision, micro_batch);
                let mut largest = 0f64;
                for (found, expected) in found.iter().zip(&expected) {
                    largest = largest.max(distance(found, expected));
                }
                // A difference above 0 shows that the layers computed in half precision.
                assert!(largest > 1e-5 && largest < allowed, "{projector:?} in {precision}: {largest:e}");
            }
        }
    }
}

#[test]
fn tiny_gradients_do_not_underflow() {
    let head = head(ProjectorConfig::Glu { width: 2 });
    // The loss of a batch of 32,768 divides by 2^30, and the smallest f16 value is 2^-24.
    let small = (-30f32).exp2();
    let expected = gradients(&head, 1.0, Dtype::F16, None);
    let found = gradients(&head, small, Dtype::F16, None);
    for (found, expected) in found.iter().zip(&expected) {
        let back: Vec<f32> = found.iter().map(|x| x / small).collect();
        assert!(distance(&back, expected) < 1e-6);
    }
}

fn trainer(projector: ProjectorConfig, precision: Dtype) -> Trainer<'static, Head> {
    let features = |dim: usize| {
        let values = (0..ROWS * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap())
    };
    let pairs = Pairs::new(features(10), vec![features(6)]).unwrap();
    let config = TrainConfig::default()
        .with_batch_size(ROWS)
        .with_epochs(30)
        .with_learning_rate(1e-3)
        .with_precision(precision);
    let head = Head::new(&HeadConfig::new(10, 6, 8, projector), 0, &Device::flex()).unwrap();
    Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs)
}

/// Asserts that every parameter is f32.
struct Single;

impl ModuleVisitor for Single {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        assert_eq!(param.val().dtype(), DType::F32);
    }
}

#[test]
fn half_precision_run_matches_f32_and_keeps_f32_weights() {
    let run = |precision| trainer(ProjectorConfig::Glu { width: 2 }, precision).run().unwrap();
    let single = run(Dtype::F32);
    let loss = |outcome: &sail_train::Outcome<Head>| outcome.history.steps.last().unwrap().loss;
    for precision in [Dtype::BF16, Dtype::F16] {
        let half = run(precision);
        half.head.visit(&mut Single);
        let ratio = loss(&half) / loss(&single);
        assert!((ratio - 1.0).abs() < 0.02 && ratio != 1.0, "{precision}: {ratio}");
    }
}

#[test]
fn rejects_heads_without_half_precision() {
    let sharelock = ProjectorConfig::ShareLock { hidden: 8, layers: 2, dropout: 0.0 };
    let refused = trainer(sharelock, Dtype::BF16).check();
    assert!(matches!(refused, Err(TrainError::Precision { .. })), "{refused:?}");
}
