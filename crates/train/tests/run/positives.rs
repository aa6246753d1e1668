//! Batches in which an image occurs with several of its captions.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{AlignmentHead, ContrastiveLoss, EmbeddingBatch, Groups, LossError, l2_normalize};
use sail_data::{CaptionSampling, MatrixFeatures, Pairs};
use sail_eval::{project_images, project_texts};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::{InfoNceLoss, SigmoidLoss};
use sail_train::{Finish, Positives, TrainConfig, TrainError, Trainer};

use crate::{bytes, config, folder, stopped_at};

const IMAGES: usize = 8;

/// Without a bias, so that the loss of negatives counts.
fn head() -> Head {
    let config = HeadConfig::new(10, 6, 8, ProjectorConfig::Glu { width: 2 });
    Head::new(&HeadConfig { initial_bias: 0.0, ..config }, 0, &Device::flex()).unwrap()
}

/// Three captions of every image, caption by caption.
fn pairs() -> Pairs {
    let features = |rows: usize, dim: usize, keys: Vec<String>| {
        let values = (0..rows * dim).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap().with_keys(keys).unwrap())
    };
    let keys = |rows: usize| (0..rows).map(|row| (row % IMAGES).to_string()).collect();
    let (images, texts) = (features(IMAGES, 10, keys(IMAGES)), features(3 * IMAGES, 6, keys(3 * IMAGES)));
    Pairs::new(images, vec![texts]).unwrap()
}

fn all(positives: Positives) -> TrainConfig {
    config().with_captions(CaptionSampling::All).with_positives(positives).with_batch_size(3 * IMAGES)
}

fn trainer(config: TrainConfig) -> Trainer<'static, Head> {
    Trainer::new(config, head(), Arc::new(SigmoidLoss::new()), pairs())
}

/// A batch of the whole epoch, whatever its order.
#[test]
fn captions_of_an_image_are_positives_of_it() {
    let outcome = trainer(all(Positives::Image)).run().unwrap();
    let pairs = pairs();
    let head = head();
    let rows: Vec<usize> = (0..3 * IMAGES).collect();
    let image_rows: Vec<usize> = rows.iter().map(|row| row % IMAGES).collect();
    let images = l2_normalize(project_images(&head, &**pairs.images(), &image_rows, 64).unwrap());
    let texts = l2_normalize(project_texts(&head, &**pairs.captions(0), &rows, 64).unwrap());
    let groups = Groups::of_rows(image_rows.iter().map(|&row| row as u32).collect::<Vec<_>>());
    let value = |groups| {
        let (log_scale, bias) = (head.log_scale(), head.bias());
        let batch =
            EmbeddingBatch { images: images.clone(), texts: vec![texts.clone()], log_scale, bias, groups };
        f64::from(SigmoidLoss::new().gradients(batch).unwrap().value.into_scalar::<f32>())
    };
    let first = |outcome: &sail_train::Outcome<_>| outcome.history.steps[0].loss;
    assert!((first(&outcome) / value(Some(groups)) - 1.0).abs() < 1e-5);
    let pair = trainer(all(Positives::Pair)).run().unwrap();
    assert!((first(&pair) / value(None) - 1.0).abs() < 1e-5);
    assert!((first(&pair) / first(&outcome) - 1.0).abs() > 0.01);
}

#[test]
fn runs_resume_and_are_those_of_pairs_without_repeated_images() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let config = all(Positives::Image).with_batch_size(9);
    let expected = trainer(config.clone()).run().unwrap();
    stopped_at(trainer(config.clone()), 3).folder(folder(&path)).run().unwrap();
    let resumed = trainer(config.clone()).folder(folder(&path)).run().unwrap();
    assert_eq!(resumed.finish, Finish::Complete);
    assert!(bytes(&resumed.head) == bytes(&expected.head));
    let other = trainer(config.with_positives(Positives::Pair)).run().unwrap();
    assert!(bytes(&other.head) != bytes(&expected.head));

    let random = |positives| config_of(positives, CaptionSampling::Random);
    let [image, pair] =
        [Positives::Image, Positives::Pair].map(|positives| trainer(random(positives)).run().unwrap());
    assert!(bytes(&image.head) == bytes(&pair.head));
}

fn config_of(positives: Positives, captions: CaptionSampling) -> TrainConfig {
    all(positives).with_captions(captions).with_batch_size(IMAGES)
}

#[test]
fn a_loss_without_groups_is_refused_before_the_run() {
    let run = Trainer::new(all(Positives::Image), head(), Arc::new(InfoNceLoss::new()), pairs()).check();
    assert!(matches!(run, Err(TrainError::Loss(LossError::Groups))), "{run:?}");
}
