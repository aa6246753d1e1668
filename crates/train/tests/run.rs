//! Tests of runs: resume, early stopping, interruption, observers, evaluators, parameter groups.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, ContrastiveLoss, Dtype, EmbeddingBatch, LossError, LossGradients};
use sail_data::{MatrixFeatures, Pairs};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::{InfoNceLoss, SigmoidLoss};
use sail_train::{
    Evaluation, Event, Finish, Interrupter, Interval, OptimizerConfig, ParameterGroup, RunFolder, Schedule,
    TrainConfig, TrainError, Trainer,
};

const ROWS: usize = 48;

fn pairs_with(prefix: &str) -> Pairs {
    let noise = |i: usize| (((i * 7919 + 13) as f64).sin() * 43_758.545_3).rem_euclid(1.0) as f32 - 0.5;
    let keys: Vec<String> = (0..ROWS).map(|row| format!("{prefix}{row}")).collect();
    let features = |dim: usize| {
        let values = (0..ROWS * dim).map(|i| noise(i / dim * 16 + i % dim)).collect();
        Arc::new(MatrixFeatures::new(dim, values).unwrap().with_keys(keys.clone()).unwrap())
    };
    Pairs::new(features(10), vec![features(6)]).unwrap()
}

fn pairs() -> Pairs {
    pairs_with("k")
}

fn head() -> Head {
    Head::new(&HeadConfig::new(10, 6, 8, ProjectorConfig::Glu { width: 2 }), 0, &Device::flex()).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig::default().with_batch_size(12).with_epochs(5).with_learning_rate(1e-2)
}

fn trainer<'a>(config: TrainConfig) -> Trainer<'a, Head> {
    let split = pairs().split(12, 0).unwrap();
    Trainer::new(config, head(), Arc::new(SigmoidLoss::new()), split.train).holdout(split.holdout)
}

fn folder(path: &Path) -> RunFolder {
    match path.exists() {
        true => RunFolder::resume(path, &serde_json::json!({})).unwrap(),
        false => RunFolder::create(path, &serde_json::json!({})).unwrap(),
    }
}

/// Stops a run after `at` steps.
fn stopped_at(trainer: Trainer<'static, Head>, at: usize) -> Trainer<'static, Head> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    trainer.interrupter(interrupter).observer(move |event: Event<'_>, _: &Head| {
        // Takes effect before the next step.
        if let Event::Step(step) = event
            && step.step + 1 == at
        {
            handle.stop();
        }
    })
}

fn bytes(head: &Head) -> Vec<u8> {
    head.to_bytes().unwrap()
}

/// Returns a configuration with every kind of state.
fn with_all_state() -> TrainConfig {
    config()
        .with_ema_decay(0.9)
        .with_max_gradient_norm(0.01)
        .with_evaluate_every(Interval::epochs(1))
        .with_parameter_groups(vec![ParameterGroup::new("text").with_learning_rate_scale(0.5)])
}

#[test]
fn an_interrupted_run_resumes_to_the_same_head() {
    let parent = tempfile::tempdir().unwrap();
    for (name, config) in [
        ("lion", with_all_state()),
        ("adamw", with_all_state().with_optimizer(OptimizerConfig::ADAMW).with_schedule(Schedule::Linear)),
        ("f16", config().with_precision(Dtype::F16)),
    ] {
        let expected = trainer(config.clone()).run().unwrap();
        for at in [1, 7, 13] {
            let path = parent.path().join(format!("{name}-{at}"));
            let first = stopped_at(trainer(config.clone()), at).folder(folder(&path)).run().unwrap();
            assert_eq!((first.finish, first.history.steps.len()), (Finish::Interrupted, at + 1));
            assert!(!path.join("head.safetensors").exists());
            let second = trainer(config.clone()).folder(folder(&path)).run().unwrap();
            assert_eq!(second.finish, Finish::Complete);
            assert!(bytes(&second.head) == bytes(&expected.head), "{name} after {at} steps");
            assert_eq!(second.best, expected.best);
            let losses = |outcome: &sail_train::Outcome<Head>| {
                outcome.history.steps.iter().map(|step| step.loss).collect::<Vec<_>>()
            };
            assert_eq!(losses(&second), losses(&expected));
            assert_eq!(second.history.evaluations, expected.history.evaluations);
            assert_eq!(std::fs::read(path.join("head.safetensors")).unwrap(), bytes(&expected.head));
        }
    }
}

#[test]
fn rejects_a_checkpoint_of_another_run() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    stopped_at(trainer(config()), 3).folder(folder(&path)).run().unwrap();
    let changed = |trainer: Trainer<'_, Head>| match trainer.folder(folder(&path)).run() {
        Err(TrainError::Changed { fields, .. }) => fields.join(" "),
        other => panic!("{other:?}"),
    };
    let of =
        |loss: Arc<dyn ContrastiveLoss>, pairs: Pairs, head: Head| Trainer::new(config(), head, loss, pairs);
    let train = || pairs().split(12, 0).unwrap().train;
    let sigmoid = || Arc::new(SigmoidLoss::new());
    assert!(
        changed(trainer(config().with_learning_rate(2e-2)))
            .contains("`settings.learning_rate` (0.01, now 0.02)")
    );
    assert!(changed(trainer(config().with_seed(1))).contains("settings.seed"));
    assert!(changed(trainer(config().with_precision(Dtype::BF16))).contains("settings.precision"));
    assert!(changed(trainer(config().with_optimizer(OptimizerConfig::ADAMW))).contains("settings.optimizer"));
    assert!(changed(of(Arc::new(InfoNceLoss::new()), train(), head())).contains("`loss`"));
    assert!(
        changed(of(sigmoid(), pairs_with("other").split(12, 0).unwrap().train, head())).contains("`keys`")
    );
    // Settings that do not affect the weights may change.
    let free = config().with_evaluate_every(Interval::Never).with_statistics_every(Interval::Never);
    assert_eq!(trainer(free).folder(folder(&path)).run().unwrap().finish, Finish::Complete);
}

#[test]
fn rejects_a_checkpoint_with_other_dimensions() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    stopped_at(trainer(config()), 3).folder(folder(&path)).run().unwrap();
    let other =
        Head::new(&HeadConfig::new(10, 6, 9, ProjectorConfig::Glu { width: 2 }), 0, &Device::flex()).unwrap();
    let train = pairs().split(12, 0).unwrap().train;
    let found =
        Trainer::new(config(), other, Arc::new(SigmoidLoss::new()), train).folder(folder(&path)).run();
    assert!(matches!(found, Err(TrainError::Damaged { .. } | TrainError::Changed { .. })), "{found:?}");
}

#[test]
fn patience_stops_after_evaluations_without_a_new_best() {
    let mut scores = vec![1.0, 3.0, 2.0, 3.0, 9.0].into_iter();
    let evaluator = move |_: &Head| Ok(Evaluation { score: scores.next().unwrap(), ..Evaluation::default() });
    let config = config().with_epochs(9).with_evaluate_every(Interval::steps(2)).with_patience(2);
    let outcome = trainer(config).evaluator(evaluator).run().unwrap();
    assert_eq!(outcome.finish, Finish::Early);
    // The two evaluations after the best one, at step 4, do not exceed it. An equal score is not an improvement.
    assert_eq!(outcome.best.map(|best| (best.steps, best.score)), Some((4, 3.0)));
    assert_eq!(outcome.history.steps.len(), 8);
}

#[test]
fn rejects_patience_without_evaluations() {
    let found = trainer(config().with_patience(1).with_evaluate_every(Interval::Never)).check();
    assert!(matches!(found, Err(TrainError::Config(ref error)) if error.field == "patience"), "{found:?}");
}

#[test]
fn observers_see_every_event_and_the_head() {
    let parent = tempfile::tempdir().unwrap();
    let (mut seen, mut scales) = (Vec::new(), Vec::new());
    let observer = |event: Event<'_>, head: &Head| match event {
        Event::Started { start, steps, steps_per_epoch, parameters, .. } => {
            assert!(parameters > 100);
            seen.push(format!("start {start} of {steps}, {steps_per_epoch} an epoch"));
        }
        Event::Step(_) => scales.push(head.valid().log_scale().into_scalar::<f32>()),
        Event::Evaluated(evaluation) => seen.push(format!("evaluated {}", evaluation.steps)),
        Event::Saved { steps, .. } => seen.push(format!("saved {steps}")),
        Event::Finished => seen.push("finished".to_owned()),
        _ => {}
    };
    let config = config().with_epochs(2).with_evaluate_every(Interval::epochs(1));
    trainer(config).folder(folder(&parent.path().join("run"))).observer(observer).run().unwrap();
    assert_eq!(seen, ["start 0 of 6, 3 an epoch", "evaluated 3", "evaluated 6", "saved 6", "finished"]);
    assert_eq!(scales.len(), 6);
    assert!(scales.windows(2).all(|pair| pair[0] != pair[1]), "{scales:?}");
}

#[test]
fn custom_metrics_are_recorded_and_the_score_selects_the_best_head() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let mut calls = 0.0;
    let evaluator = move |_: &Head| {
        calls += 1.0;
        let metrics = BTreeMap::from([("accuracy".to_owned(), 10.0 - calls)]);
        Ok(Evaluation { score: -calls, metrics, ..Evaluation::default() })
    };
    let config = config().with_evaluate_every(Interval::epochs(1));
    let outcome = trainer(config).folder(folder(&path)).evaluator(evaluator).run().unwrap();
    assert_eq!(outcome.best.map(|best| best.steps), Some(3));
    assert!(bytes(outcome.best_head.as_ref().unwrap()) != bytes(&outcome.head));
    assert_eq!(outcome.history.evaluations[1].metrics["accuracy"], 8.0);
    let lines = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    assert!(lines.contains(r#""metrics":{"accuracy":8.0}"#), "{lines}");
}

#[test]
fn a_failing_evaluator_ends_the_run_with_its_error() {
    let evaluator = |_: &Head| Err("no such class".into());
    match trainer(config()).evaluator(evaluator).run() {
        Err(TrainError::Evaluator(error)) => assert_eq!(error.to_string(), "no such class"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn evaluates_the_loss_of_the_holdout() {
    let outcome = trainer(config().with_evaluate_every(Interval::epochs(1))).run().unwrap();
    let evaluations = &outcome.history.evaluations;
    assert_eq!(evaluations.len(), 5);
    assert!(evaluations.iter().all(|found| found.loss.is_some_and(|loss| loss > 0.0 && loss < 10.0)));
    assert_eq!(evaluations.last().unwrap().holdout.as_ref().unwrap().n_images, 12);
    // The loss of the next training step is computed on other pairs, but has the same magnitude.
    let (held_out, trained) = (evaluations[0].loss.unwrap(), outcome.history.steps[3].loss);
    assert!((held_out / trained).ln().abs() < 1.0, "{held_out} and {trained}");
}

#[test]
fn records_statistics_of_steps() {
    let config = config().with_statistics_every(Interval::steps(4));
    let outcome = trainer(config).run().unwrap();
    for step in &outcome.history.steps {
        assert!(step.gradient_norm.is_some_and(|norm| norm > 0.0) && !step.skipped);
        assert_eq!(step.statistics.is_some(), (step.step + 1) % 4 == 0);
        if let Some(statistics) = step.statistics {
            let pairs = statistics.pairs.unwrap();
            // The loss is the mean over all pairs, 12 of 144 of them positive.
            let mean = (pairs.positive_loss + 11.0 * pairs.negative_loss) / 12.0;
            assert!((mean / step.loss - 1.0).abs() < 1e-4, "{mean}, expected {}", step.loss);
            assert!(statistics.pairs_per_second > 0.0);
            assert!((0.0..=1.0).contains(&pairs.positive_accuracy));
        }
    }
}

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

fn values(head: &Head) -> BTreeMap<String, Vec<f32>> {
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

/// The sigmoid loss, with a gradient that is not finite in one call.
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
        if self.at.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            let rows = loss.texts[0].dims()[0];
            let row = Tensor::<2>::zeros([1, 8], &Device::flex()) + self.value;
            loss.texts[0] = Tensor::cat(vec![row, loss.texts[0].clone().slice(1..rows)], 0);
        }
        Ok(loss)
    }
}

#[test]
fn a_gradient_that_is_not_finite_ends_the_run_before_a_weight_changes() {
    let parent = tempfile::tempdir().unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        // The first call is the dry run.
        let loss = Arc::new(Broken { value, at: 4.into() });
        let path = parent.path().join(value.to_string());
        let train = pairs().split(12, 0).unwrap().train;
        let found = Trainer::new(config(), head(), loss, train)
            .folder(folder(&path))
            .checkpoint_every(Duration::ZERO)
            .run();
        assert!(
            matches!(found, Err(TrainError::NotFinite { what: "the gradient", step: 3, .. })),
            "{value}: {found:?}"
        );
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

#[test]
fn starts_from_a_trained_head() {
    let first = trainer(config()).run().unwrap();
    let train = pairs().split(12, 0).unwrap().train;
    let second = Trainer::new(config(), first.head, Arc::new(SigmoidLoss::new()), train).run().unwrap();
    assert!(second.history.steps[0].loss < first.history.steps[0].loss / 2.0);
}

#[test]
fn trainer_is_send() {
    let outcome = std::thread::spawn(|| trainer(config()).run()).join().unwrap().unwrap();
    assert_eq!(outcome.finish, Finish::Complete);
}
