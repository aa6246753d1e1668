//! Runs with auxiliary losses.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::FeatureSource;
use sail_data::MatrixFeatures;
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::{Klot, SigmoidLoss, Sinkhorn, Structure};
use sail_train::{Auxiliary, TrainConfig, TrainError, Trainer, Unpaired};

use crate::{bytes, config, folder, pairs, stopped_at, trainer};

fn source(rows: usize, dim: usize) -> Arc<dyn FeatureSource> {
    let values = (0..rows * dim).map(|i| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos()).collect();
    Arc::new(MatrixFeatures::new(dim, values).unwrap())
}

fn structure(weight: f64) -> Auxiliary {
    Auxiliary::new(Structure::default(), weight)
}

fn klot(epsilon: f64, teacher: &str) -> Auxiliary {
    let config = HeadConfig::new(10, 6, 8, ProjectorConfig::Linear {});
    let head = Head::new(&config, 5, &Device::flex()).unwrap();
    let klot = Klot::new(Sinkhorn::new(epsilon), Sinkhorn::new(0.1));
    Auxiliary::new(klot.with_teacher(head, teacher), 0.1)
}

fn unpaired(batch_size: usize) -> Unpaired {
    Unpaired::new(source(30, 10), source(25, 6), batch_size).unwrap()
}

fn with_both() -> Trainer<'static, Head> {
    trainer(config()).auxiliary(structure(0.5)).auxiliary(klot(0.2, "t")).unpaired(unpaired(16))
}

#[test]
fn values_are_recorded_and_a_resumed_run_ends_in_the_same_head() {
    let parent = tempfile::tempdir().unwrap();
    let expected = with_both().run().unwrap();
    for step in &expected.history.steps {
        let names: Vec<&str> = step.auxiliary.keys().map(String::as_str).collect();
        assert_eq!(names, ["klot", "structure"]);
        assert!(step.auxiliary.values().all(|value| value.is_finite() && *value > 0.0));
    }
    assert!(bytes(&expected.head) != bytes(&trainer(config()).run().unwrap().head));
    let path = parent.path().join("run");
    stopped_at(with_both(), 5).folder(folder(&path)).run().unwrap();
    let found = with_both().folder(folder(&path)).run().unwrap();
    assert!(bytes(&found.head) == bytes(&expected.head));
    assert_eq!(found.history.steps[0].auxiliary, expected.history.steps[0].auxiliary);
    let metrics = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    assert!(metrics.lines().next().unwrap().contains(r#""auxiliary":{"klot":"#));
}

#[test]
fn a_run_does_not_continue_with_other_auxiliary_losses() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    stopped_at(with_both(), 3).folder(folder(&path)).run().unwrap();
    let changed = |trainer: Trainer<'static, Head>| match trainer.folder(folder(&path)).run() {
        Err(TrainError::Changed { fields, .. }) => fields.join(" "),
        other => panic!("{other:?}"),
    };
    let of =
        |structure, klot, unpaired| trainer(config()).auxiliary(structure).auxiliary(klot).unpaired(unpaired);
    assert!(changed(of(structure(0.4), klot(0.2, "t"), unpaired(16))).contains("`auxiliary`"));
    assert!(changed(of(structure(0.5), klot(0.3, "t"), unpaired(16))).contains("`auxiliary`"));
    assert!(changed(of(structure(0.5), klot(0.2, "other"), unpaired(16))).contains("`auxiliary`"));
    assert!(changed(of(structure(0.5), klot(0.2, "t"), unpaired(15))).contains("`unpaired.batch_size`"));
    let fewer = Unpaired::new(source(29, 10), source(25, 6), 16).unwrap();
    assert!(changed(of(structure(0.5), klot(0.2, "t"), fewer)).contains("`unpaired.images"));
    assert!(changed(trainer(config())).contains("`auxiliary`"));
}

#[test]
fn refuses_terms_that_cannot_be_computed_before_a_step() {
    let check = |trainer: Trainer<'static, Head>| trainer.check();
    assert!(matches!(check(trainer(config()).auxiliary(structure(0.0))), Err(TrainError::Config(_))));
    let twice = trainer(config()).auxiliary(structure(1.0)).auxiliary(structure(1.0));
    assert!(matches!(check(twice), Err(TrainError::Config(_))));
    let without = trainer(config()).auxiliary(klot(0.2, "t"));
    assert!(matches!(check(without), Err(TrainError::NoUnpaired { .. })));
    let unused = trainer(config()).unpaired(unpaired(16));
    assert!(matches!(check(unused), Err(TrainError::UnusedUnpaired)));
    let one = Unpaired::new(source(30, 10), source(1, 6), 16).unwrap();
    assert!(matches!(
        check(trainer(config()).auxiliary(klot(0.2, "t")).unpaired(one)),
        Err(TrainError::Data(_))
    ));
    let other = Unpaired::new(source(30, 10), source(25, 7), 16).unwrap();
    assert!(check(trainer(config()).auxiliary(klot(0.2, "t")).unpaired(other)).is_err());
    with_both().check().unwrap();
}

#[test]
fn memory_counts_unpaired_rows_and_auxiliary_losses() {
    let head =
        || Head::new(&HeadConfig::new(10, 6, 8, ProjectorConfig::Linear {}), 0, &Device::flex()).unwrap();
    let config = TrainConfig::default().with_batch_size(12).with_epochs(1);
    let trainer = || Trainer::new(config.clone(), head(), Arc::new(SigmoidLoss::new()), pairs());
    let bytes = |trainer: Trainer<'static, Head>| trainer.plan().unwrap().memory.unwrap();
    let (alone, with_structure) = (bytes(trainer()), bytes(trainer().auxiliary(structure(1.0))));
    let with_klot = |rows| bytes(trainer().auxiliary(klot(0.2, "t")).unpaired(unpaired(rows)));
    assert!(alone < with_structure && alone < with_klot(4) && with_klot(4) < with_klot(20));
}
