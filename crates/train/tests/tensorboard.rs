//! Reads the event files of a run.
#![cfg(feature = "tensorboard")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::{SigmoidLoss, Structure};
use sail_train::{Auxiliary, Interval, TensorBoard, TrainConfig, Trainer};
use tfrecord::EventIter;
use tfrecord::protobuf::event::What;
use tfrecord::protobuf::summary::value::Value;

/// Returns the values of every tag by step, and verifies the checksums.
fn read(path: &Path) -> BTreeMap<String, BTreeMap<i64, f32>> {
    let mut tags: BTreeMap<String, BTreeMap<i64, f32>> = BTreeMap::new();
    for event in EventIter::open(path, Default::default()).unwrap() {
        let event = event.unwrap();
        if let Some(What::Summary(summary)) = event.what {
            for value in summary.value {
                let Some(Value::SimpleValue(scalar)) = value.value else { panic!("not a scalar") };
                tags.entry(value.tag).or_default().insert(event.step, scalar);
            }
        }
    }
    tags
}

#[test]
fn events_match_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let features = |dim: usize| {
        let values = (0..30 * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap())
    };
    let split = Pairs::new(features(10), vec![features(6)]).unwrap().split(10, 0).unwrap();
    let head = Head::new(&HeadConfig::new(10, 6, 8, ProjectorConfig::Linear {}), 0, &Device::flex()).unwrap();
    let config = TrainConfig::default()
        .with_batch_size(10)
        .with_epochs(4)
        .with_evaluate_every(Interval::epochs(2))
        .with_statistics_every(Interval::steps(2));
    let outcome = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), split.train)
        .auxiliary(Auxiliary::new(Structure::default(), 1.0))
        .holdout(split.holdout)
        .observer(TensorBoard::create(folder.path()).unwrap())
        .run()
        .unwrap();

    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let path = files.next().unwrap();
    assert!(path.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
    let found = read(&path);
    for step in &outcome.history.steps {
        let at = step.step as i64;
        assert_eq!(found["train/loss"][&at], step.loss as f32);
        assert_eq!(found["train/structure"][&at], step.auxiliary["structure"] as f32);
        assert_eq!(found["train/learning_rate"][&at], step.learning_rate as f32);
        assert_eq!(found["train/gradient_norm"][&at], step.gradient_norm.unwrap() as f32);
        let pairs = step.statistics.and_then(|statistics| statistics.pairs);
        assert_eq!(
            found["train/negative_accuracy"].get(&at).copied(),
            pairs.map(|pairs| pairs.negative_accuracy as f32)
        );
    }
    assert_eq!(found["train/negative_accuracy"].len(), 4);
    for evaluation in &outcome.history.evaluations {
        let at = evaluation.steps as i64;
        assert_eq!(found["holdout/score"][&at], evaluation.score() as f32);
        assert_eq!(found["holdout/i2t_recall@1"][&at], evaluation.holdout.as_ref().unwrap().i2t.r1 as f32);
        assert_eq!(found["holdout/loss"][&at], evaluation.loss.unwrap() as f32);
    }
}
