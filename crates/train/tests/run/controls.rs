//! Frozen parameters, parameter groups, clipping, averages and kept heads.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use sail_data::{CaptionSampling, MatrixFeatures, Pairs};
use sail_layers::Head;
use sail_losses::SigmoidLoss;
use sail_train::{Event, Interval, OptimizerConfig, ParameterGroup, TrainConfig, TrainError, Trainer};

use crate::{bytes, config, folder, head, trainer};

/// Collects the parameters of a head by path.
#[derive(Default)]
struct Values {
    path: Vec<String>,
    values: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().into_data().iter::<f32>().collect();
        self.values.insert(self.path.join("."), values);
    }

    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
}

pub(crate) fn values(head: &Head) -> BTreeMap<String, Vec<f32>> {
    let mut visitor = Values::default();
    head.visit(&mut visitor);
    visitor.values
}

#[test]
fn only_frozen_parameters_are_unchanged() {
    for optimizer in [OptimizerConfig::LION, OptimizerConfig::ADAMW] {
        let groups = vec![
            ParameterGroup::new("image").with_frozen(true),
            ParameterGroup::new("logit.bias").with_frozen(true),
        ];
        let config = config().with_optimizer(optimizer).with_weight_decay(1.0).with_parameter_groups(groups);
        let (before, after) = (values(&head()), values(&trainer(config).run().unwrap().head));
        for (path, before) in before {
            let frozen = path.starts_with("image.") || path == "logit.bias";
            assert_eq!(before == after[&path], frozen, "{path}");
        }
    }
}

#[test]
fn parameter_groups_scale_the_learning_rate() {
    let run = |scale: f64| {
        let groups = vec![ParameterGroup::new("text").with_learning_rate_scale(scale)];
        let one_step = config().with_epochs(1).with_batch_size(36).with_weight_decay(0.0).with_warmup(0.0);
        values(&trainer(one_step.with_parameter_groups(groups)).run().unwrap().head)
    };
    let (before, whole, half) = (values(&head()), run(1.0), run(0.5));
    for (path, before) in &before {
        let moved =
            |after: &[f32]| before.iter().zip(after).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
        let ratio = moved(&half[path]) / moved(&whole[path]);
        let expected = if path.starts_with("text.") { 0.5 } else { 1.0 };
        assert!((ratio - expected).abs() < 1e-3, "{path}: {ratio}");
    }
}

#[test]
fn rejects_a_parameter_group_without_parameters() {
    let found = trainer(config().with_parameter_groups(vec![ParameterGroup::new("images")])).check();
    let Err(TrainError::Config(error)) = found else { panic!("{found:?}") };
    let message = error.to_string();
    assert!(message.contains("`images`") && message.contains("`image.projector.gate.weight`"), "{message}");
}

#[test]
fn clips_the_gradient_before_the_optimizer() {
    // The first step of Adam does not depend on the norm of the gradient, but its second moment uses the clipped
    // gradient. The recorded norm is that before clipping, and a maximum that is never exceeded has no effect.
    let run = |max: Option<f64>| {
        let config = config().with_optimizer(OptimizerConfig::ADAMW).with_max_gradient_norm(max);
        trainer(config).run().unwrap()
    };
    let (free, loose, tight) = (run(None), run(Some(1e6)), run(Some(1e-6)));
    assert!(bytes(&free.head) == bytes(&loose.head));
    assert!(bytes(&free.head) != bytes(&tight.head));
    assert_eq!(free.history.steps[0].gradient_norm, tight.history.steps[0].gradient_norm);
}

#[test]
fn moving_average_equals_that_of_the_heads() {
    let mut heads = Vec::new();
    let observer = |event: Event<'_>, head: &Head| {
        if let Event::Started { .. } | Event::Step(_) = event {
            heads.push(values(&head.valid()));
        }
    };
    let outcome = trainer(config().with_ema_decay(0.75)).observer(observer).run().unwrap();
    let found = values(&outcome.head);
    for (path, found) in found {
        for (index, found) in found.into_iter().enumerate() {
            let mut average = f64::from(heads[0][&path][index]);
            for head in &heads[1..] {
                average = 0.75 * average + 0.25 * f64::from(head[&path][index]);
            }
            assert!((f64::from(found) - average).abs() < 1e-4, "{path}: {found}, expected {average}");
        }
    }
}

#[test]
fn keeps_heads_at_the_interval() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let config = config().with_keep_every(Interval::steps(6));
    let outcome = trainer(config).folder(folder(&path)).run().unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(path.join("heads")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["step-0000006.safetensors", "step-0000012.safetensors"]);
    let kept = Head::load(path.join("heads/step-0000006.safetensors"), &Device::flex()).unwrap();
    assert!(bytes(&kept) != bytes(&outcome.head));
}

#[test]
fn an_epoch_of_all_captions_has_a_step_for_each_batch_of_them() {
    let keys = |count: usize| (0..count).map(|row| format!("k{}", row % 24));
    let features = |dim: usize, rows: usize| {
        let values = (0..rows * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap().with_keys(keys(rows)).unwrap())
    };
    let run = |config: TrainConfig| {
        let pairs = Pairs::new(features(10, 24), vec![features(6, 72)]).unwrap();
        Trainer::new(config.with_epochs(2), head(), Arc::new(SigmoidLoss::new()), pairs).run()
    };
    assert_eq!(run(config()).unwrap().history.steps.len(), 2 * 2);
    assert_eq!(run(config().with_captions(CaptionSampling::All)).unwrap().history.steps.len(), 2 * 6);
    assert_eq!(run(config().with_source_weights(vec![2.0])).unwrap().history.steps.len(), 2 * 4);
    let refused = run(config().with_source_weights(vec![2.0, 1.0]));
    assert!(matches!(refused, Err(TrainError::Data(_))), "{refused:?}");
}
