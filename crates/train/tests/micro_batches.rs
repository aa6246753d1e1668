//! Micro-batches and several devices compute the gradient of the full batch.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use sail_core::{
    AlignmentHead, AuxiliaryBatch, AuxiliaryError, AuxiliaryGradients, AuxiliaryLoss, AuxiliaryRows,
    ContrastiveLoss, TokenLayout, l2_normalize,
};
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_losses::{Gram, InfoNceLoss, Klot, SigmoidLoss, Sinkhorn, Structure};
use sail_train::{AlignmentBatch, AlignmentStep, Auxiliary, StepBatch, TrainConfig, TrainError, Trainer};

const ROWS: usize = 24;

fn batch(rows: usize, caption_sets: usize, device: &Device) -> AlignmentBatch {
    device.seed(3);
    let random = |dim| Tensor::random([rows, dim], Distribution::Normal(0.0, 1.0), device);
    AlignmentBatch { images: random(10), texts: (0..caption_sets).map(|_| random(6)).collect(), groups: None }
}

/// Compares the gradients of every parameter by the norm of their difference.
struct Compare<'a> {
    found: &'a GradientsParams,
    expected: &'a GradientsParams,
    parameters: usize,
    /// Of all parameters, the squares of the differences and of the expected gradients.
    squares: [f32; 2],
}

impl<'a> Compare<'a> {
    fn new(found: &'a GradientsParams, expected: &'a GradientsParams) -> Self {
        Self { found, expected, parameters: 0, squares: [0.0; 2] }
    }
}

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let length = |x: Tensor<D>| (x.clone() * x).sum().sqrt().into_scalar::<f32>();
        let (found, expected) =
            (self.found.get::<D>(param.id).unwrap(), self.expected.get::<D>(param.id).unwrap());
        let difference = length(found - expected.clone());
        let size = length(expected);
        assert!(difference <= 1e-4 * size, "{difference:e} of {size:e}");
        self.squares = [self.squares[0] + difference.powi(2), self.squares[1] + size.powi(2)];
        self.parameters += 1;
    }
}

#[test]
fn gradients_equal_those_of_the_full_batch() {
    let device = Device::flex().autodiff();
    // With groups, every image occurs twice or three times.
    let losses: [(Arc<dyn ContrastiveLoss>, u32); 3] = [
        (Arc::new(SigmoidLoss::new()), 0),
        (Arc::new(InfoNceLoss::new()), 0),
        (Arc::new(SigmoidLoss::new()), 9),
    ];
    for projector in [
        ProjectorConfig::Linear {},
        ProjectorConfig::MLP,
        ProjectorConfig::Glu { width: 2 },
        ProjectorConfig::SwiGlu { width: 2 },
        ProjectorConfig::ResidualMlp { expansion: 2, depth: 2, dropout: 0.0 },
    ] {
        let head = Head::new(&HeadConfig::new(10, 6, 8, projector.clone()), 0, &device).unwrap();
        for (loss, groups) in &losses {
            for caption_sets in [1, 3] {
                let groups = (*groups > 0).then(|| (0..ROWS as u32).map(|row| row % groups).collect());
                let batch = AlignmentBatch { groups, ..batch(ROWS, caption_sets, &device) };
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
                    let mut compare = Compare::new(&found, &expected);
                    head.visit(&mut compare);
                    assert!(compare.parameters >= 4, "{projector:?}");
                    assert!((found_value / value - 1.0).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn gradients_of_layers_of_tokens_equal_those_of_the_full_batch() {
    let device = Device::flex().autodiff();
    for class_token in [true, false] {
        for projector in
            [ProjectorConfig::Token {}, ProjectorConfig::TokenTransformer { depth: 2, head_width: 4 }]
        {
            let layout = TokenLayout::Image { class_token, grid: [2, 3], dim: 8 };
            let config = HeadConfig {
                image: Some(SideConfig::of_tokens(layout, projector.clone())),
                ..HeadConfig::new(10, 6, 8, ProjectorConfig::MLP)
            };
            let head = Head::new(&config, 0, &device).unwrap();
            device.seed(5);
            let random = |dim| Tensor::random([ROWS, dim], Distribution::Normal(0.0, 1.0), &device);
            let batch =
                AlignmentBatch { images: random(layout.row_values()), texts: vec![random(6)], groups: None };
            for weight in [None, Some(0.5)] {
                let gram = weight.map(|weight| Auxiliary::new(Gram::new(layout).unwrap(), weight));
                let step = |rows: Option<usize>, others: usize| {
                    let found = AlignmentStep::new(Arc::new(SigmoidLoss::new()))
                        .with_auxiliary(gram.clone().into_iter().collect())
                        .with_devices(vec![Device::flex(); others])
                        .with_micro_batch(rows.and_then(NonZeroUsize::new))
                        .gradients(&head, batch.clone())
                        .unwrap();
                    let values = found.auxiliary.into_iter().map(|(_, value)| value.into_scalar());
                    (found.gradients, values.collect::<Vec<f32>>())
                };
                let (expected, expected_values) = step(None, 0);
                assert_eq!(expected_values.len(), usize::from(weight.is_some()));
                for (rows, others) in [(Some(1), 0), (Some(7), 0), (None, 1), (Some(5), 2)] {
                    let (found, values) = step(rows, others);
                    let mut compare = Compare::new(&found, &expected);
                    head.visit(&mut compare);
                    assert!(compare.parameters > 10, "{projector:?}");
                    let [difference, size] = compare.squares.map(f32::sqrt);
                    assert!(difference <= 1e-5 * size, "{projector:?}: {difference:e} of {size:e}");
                    assert_eq!(values.len(), expected_values.len());
                    for (value, expected) in values.iter().zip(&expected_values) {
                        assert!((value / expected - 1.0).abs() < 1e-5, "{value}, expected {expected}");
                    }
                }
            }
        }
    }
}

/// The gradient of the Gram loss is that of automatic differentiation through head and loss.
#[test]
fn the_gram_loss_of_tokens_is_added_with_its_weight() {
    let device = Device::flex().autodiff();
    let layout = TokenLayout::Image { class_token: true, grid: [2, 2], dim: 8 };
    let config = HeadConfig {
        image: Some(SideConfig::of_tokens(layout, ProjectorConfig::Token {})),
        ..HeadConfig::new(10, 6, 8, ProjectorConfig::MLP)
    };
    let head = Head::new(&config, 0, &device).unwrap();
    device.seed(7);
    let random = |dim| Tensor::random([ROWS, dim], Distribution::Normal(0.0, 1.0), &device);
    let batch = AlignmentBatch { images: random(layout.row_values()), texts: vec![random(6)], groups: None };
    let step = |terms| {
        let step = AlignmentStep::new(Arc::new(SigmoidLoss::new())).with_auxiliary(terms);
        step.gradients(&head, batch.clone()).unwrap().gradients
    };
    let tokens = batch.images.clone().reshape([ROWS, 5, 8]);
    let cosines = |patches: Tensor<3>| {
        let [images, count, dim] = patches.dims();
        let unit = l2_normalize(patches.reshape([images * count, dim])).reshape([images, count, dim]);
        unit.clone().matmul(unit.transpose())
    };
    let difference = cosines(head.project_patches(tokens.clone()).unwrap()) - cosines(tokens.narrow(1, 1, 4));
    let term = (difference.square().mean() * 0.5).backward();
    let mut sum = burn::optim::GradientsAccumulator::new();
    sum.accumulate(&head, step(vec![]));
    sum.accumulate(&head, GradientsParams::from_grads(term, &head));
    let (found, expected) = (step(vec![Auxiliary::new(Gram::new(layout).unwrap(), 0.5)]), sum.grads());
    let mut compare = Compare::new(&found, &expected);
    head.visit(&mut compare);
    assert!(compare.parameters > 10);
}

/// The pairs, and twice as many unpaired rows.
fn step_batch(device: &Device) -> StepBatch {
    StepBatch { pairs: batch(ROWS, 2, device), unpaired: Some(batch(2 * ROWS, 1, device)) }
}

#[test]
fn gradients_of_auxiliary_losses_equal_those_of_the_full_batch() {
    let device = Device::flex().autodiff();
    let config = HeadConfig::new(10, 6, 8, ProjectorConfig::Glu { width: 2 });
    let head = Head::new(&config, 0, &device).unwrap();
    let teacher = Head::new(&config, 1, &Device::flex()).unwrap();
    let klot = Klot::new(Sinkhorn::new(0.1), Sinkhorn::new(0.1)).with_teacher(teacher, "random");
    // Drawn once: the random generator of `flex` is shared with concurrent tests.
    let batches = step_batch(&device);
    let terms = vec![Auxiliary::new(Structure::default().with_levels(2), 0.5), Auxiliary::new(klot, 0.25)];
    let step = |rows: Option<usize>, others: usize| {
        AlignmentStep::new(Arc::new(SigmoidLoss::new()))
            .with_auxiliary(terms.clone())
            .with_devices(vec![Device::flex(); others])
            .with_micro_batch(rows.and_then(NonZeroUsize::new))
            .gradients(&head, batches.clone())
            .unwrap()
    };
    let values = |auxiliary: Vec<(String, Tensor<1>)>| {
        auxiliary.into_iter().map(|(name, value)| (name, value.into_scalar::<f32>())).collect::<Vec<_>>()
    };
    let whole = step(None, 0);
    let whole_values = values(whole.auxiliary);
    assert_eq!(whole_values.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(), ["structure", "klot"]);
    // Between the numbers of pairs and of unpaired rows as well.
    for (rows, others) in [(Some(1), 0), (Some(7), 0), (Some(ROWS + 5), 0), (None, 1), (Some(5), 2)] {
        let found = step(rows, others);
        let mut compare = Compare::new(&found.gradients, &whole.gradients);
        head.visit(&mut compare);
        assert!(compare.parameters >= 4);
        for ((_, found), (_, expected)) in values(found.auxiliary).into_iter().zip(&whole_values) {
            assert!((found / expected - 1.0).abs() < 1e-4, "{found}, expected {expected}");
        }
    }
    let without = AlignmentStep::new(Arc::new(SigmoidLoss::new()))
        .with_auxiliary(terms.clone())
        .gradients(&head, batches.pairs.clone());
    assert!(matches!(without, Err(TrainError::NoUnpaired { name }) if name == "klot"));
}

/// `sum(embeddings * direction)` on some rows, whose gradient is the direction.
struct Toward(AuxiliaryRows, Tensor<2>);

impl AuxiliaryLoss for Toward {
    fn name(&self) -> &str {
        "toward"
    }

    fn rows(&self) -> AuxiliaryRows {
        self.0
    }

    fn gradients(&self, batch: &AuxiliaryBatch) -> Result<AuxiliaryGradients, AuxiliaryError> {
        let rows = batch.checked_rows()?;
        let direction = self.1.clone().slice(0..rows);
        Ok(AuxiliaryGradients {
            value: (batch.images.clone() * direction.clone()).sum(),
            images: direction,
            texts: batch.texts.iter().map(Tensor::zeros_like).collect(),
        })
    }

    fn describe(&self) -> String {
        "toward".to_owned()
    }
}

#[test]
fn auxiliary_losses_are_added_with_their_weight() {
    let device = Device::flex().autodiff();
    let head = Head::new(&HeadConfig::new(10, 6, 8, ProjectorConfig::Linear {}), 0, &device).unwrap();
    let direction = Tensor::<2>::random([2 * ROWS, 8], Distribution::Default, &Device::flex());
    // Drawn once: the random generator of `flex` is shared with concurrent tests.
    let batches = step_batch(&device);
    let images = |rows| match rows {
        AuxiliaryRows::Pairs => batches.pairs.images.clone(),
        AuxiliaryRows::Unpaired => batches.unpaired.clone().unwrap().images,
        AuxiliaryRows::Patches(_) => panic!("not a loss on patches"),
    };
    let sigmoid = || AlignmentStep::new(Arc::new(SigmoidLoss::new()));
    for rows in [AuxiliaryRows::Pairs, AuxiliaryRows::Unpaired] {
        let found = sigmoid()
            .with_auxiliary(vec![Auxiliary::new(Toward(rows, direction.clone()), 0.3)])
            .gradients(&head, batches.clone())
            .unwrap()
            .gradients;
        let embeddings = l2_normalize(head.project_images(images(rows)).unwrap());
        let [count, _] = embeddings.dims();
        let value = (embeddings * Tensor::from_inner(direction.clone().slice(0..count))).sum() * 0.3;
        let term = GradientsParams::from_grads(value.backward(), &head);
        let mut sum = burn::optim::GradientsAccumulator::new();
        sum.accumulate(&head, sigmoid().gradients(&head, batches.clone()).unwrap().gradients);
        sum.accumulate(&head, term);
        let expected = sum.grads();
        let mut compare = Compare::new(&found, &expected);
        head.visit(&mut compare);
        assert!(compare.parameters >= 4);
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
