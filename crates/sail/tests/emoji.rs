//! Trains on real features and checks the results of the quickstart.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use sail_vl::burn::tensor::Device;
use sail_vl::core::FeatureSource;
use sail_vl::data::{Pairs, SafetensorsFeatures, Split, read_indices};
use sail_vl::eval::{Retrieval, class_weights, project_images, project_texts, zero_shot};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::losses::SigmoidLoss;
use sail_vl::train::{Interval, TrainConfig, Trainer};

const FEATURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/emoji-features.safetensors");

fn open(tensor: &str) -> Arc<SafetensorsFeatures> {
    Arc::new(SafetensorsFeatures::open(FEATURES, Some(tensor)).unwrap())
}

fn train(projector: ProjectorConfig, learning_rate: f64, extra: Option<&str>) -> (Head, Retrieval, Pairs) {
    let captions = ["label"].into_iter().chain(extra).map(|name| open(name) as Arc<dyn FeatureSource>);
    let Split { train, holdout, .. } =
        Pairs::new(open("image"), captions.collect()).unwrap().split(370, 0).unwrap();
    let config = HeadConfig::new(1280, 384, 512, projector);
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    let config = TrainConfig::default()
        .with_batch_size(370)
        .with_learning_rate(learning_rate)
        .with_seed(0)
        .with_evaluate_every(Interval::Never);
    let trainer = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), train).holdout(holdout.clone());
    let outcome = trainer.run().unwrap();
    (outcome.head, outcome.history.evaluations.last().unwrap().holdout.clone().unwrap(), holdout)
}

fn subgroup_accuracy(head: &Head, holdout: &Pairs) -> f64 {
    let prompts = open("subgroup_prompt");
    let labels = read_indices(FEATURES, Some("subgroup")).unwrap();
    let rows: Vec<usize> = (0..holdout.len()).map(|pair| holdout.image_row(pair)).collect();
    let labels: Vec<usize> = rows.iter().map(|&row| labels[row] as usize).collect();
    let classes: Vec<usize> = (0..prompts.rows()).collect();
    let prompts = project_texts(head, &*prompts, &classes, 512).unwrap();
    let weights = class_weights(prompts, &classes, classes.len()).unwrap();
    let images = project_images(head, &**holdout.images(), &rows, 512).unwrap();
    zero_shot(images, weights, &labels).unwrap().top1
}

/// Thresholds are two to three points below the measured results, because rounding differs between CPUs.
#[test]
fn glu_beats_linear_and_captions_improve_zero_shot() {
    let (_, linear, _) = train(ProjectorConfig::Linear {}, 3e-4, None);
    let (head, glu, holdout) = train(ProjectorConfig::Glu { width: 2 }, 1e-4, None);
    assert!(glu.i2t.r1 > 20.0 && glu.i2t.r10 > 50.0, "{glu:?}");
    assert!(glu.i2t.r1 > linear.i2t.r1 + 6.0, "{glu:?}, linear {linear:?}");
    let plain = subgroup_accuracy(&head, &holdout);
    let (head, ..) = train(ProjectorConfig::Glu { width: 2 }, 1e-4, Some("caption"));
    let with_captions = subgroup_accuracy(&head, &holdout);
    assert!(with_captions > plain + 2.0, "{with_captions}, without captions {plain}");
}
