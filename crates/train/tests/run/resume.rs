//! Runs that were interrupted, and where runs start.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{ContrastiveLoss, Dtype};
use sail_data::Pairs;
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::{InfoNceLoss, SigmoidLoss};
use sail_train::{Finish, Interval, OptimizerConfig, Schedule, TrainError, Trainer};

use crate::{bytes, config, folder, head, pairs, pairs_with, stopped_at, trainer, with_all_state};

#[test]
fn an_interrupted_run_resumes_to_the_same_head() {
    let parent = tempfile::tempdir().unwrap();
    for (name, config) in [
        ("lion", with_all_state()),
        ("adamw", with_all_state().with_optimizer(OptimizerConfig::ADAMW).with_schedule(Schedule::Linear)),
        ("f16", config().with_precision(Dtype::F16)),
        ("mixup", config().with_mixup(1.0)),
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
fn mixup_of_zero_is_no_mixup() {
    let run = |config| bytes(&trainer(config).run().unwrap().head);
    let expected = run(config());
    assert!(run(config().with_mixup(0.0)) == expected);
    assert!(run(config().with_mixup(1.0)) != expected);
    assert_eq!(serde_json::to_value(config().with_mixup(0.0)).unwrap().get("mixup"), None);
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
