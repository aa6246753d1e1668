//! Evaluation, early stopping, observers and records.

use std::collections::BTreeMap;

use burn::module::Module;
use sail_core::AlignmentHead;
use sail_layers::Head;
use sail_train::{Evaluation, Event, Finish, Interval, TrainError};

use crate::{bytes, config, folder, trainer};

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
