//! Records of steps and evaluations.

use std::collections::BTreeMap;

use sail_eval::Retrieval;
use serde::{Deserialize, Serialize};

/// One optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepRecord {
    /// The step, counted from 0.
    pub step: usize,
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// The loss before the step, without the auxiliary losses.
    pub loss: f64,
    /// The auxiliary losses before the step by name, without their weights.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub auxiliary: BTreeMap<String, f64>,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The logit scale before the step, `exp(log_scale)`.
    pub scale: f64,
    /// The logit bias before the step.
    pub bias: f64,
    /// Global L2 norm of the gradient, before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Whether the step was skipped because its f16 gradient overflowed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skipped: bool,
    /// Statistics, at the interval [`TrainConfig::statistics_every`](crate::TrainConfig::statistics_every).
    #[serde(flatten)]
    pub statistics: Option<StepStatistics>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Statistics that are recorded at an interval of steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepStatistics {
    /// Statistics of positives and negatives, if the loss supports them.
    #[serde(flatten)]
    pub pairs: Option<PairStatistics>,
    /// Throughput since the previous statistics.
    pub pairs_per_second: f64,
    /// Resident memory of the process in bytes, if available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<usize>,
}

/// Statistics of the positive and the negative pairs of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PairStatistics {
    /// Mean loss of the positives.
    pub positive_loss: f64,
    /// Mean loss of the negatives.
    pub negative_loss: f64,
    /// Fraction of the positives with a positive logit, 0 to 1.
    pub positive_accuracy: f64,
    /// Fraction of the negatives with a negative logit, 0 to 1.
    pub negative_accuracy: f64,
}

/// One evaluation of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvaluationRecord {
    /// Number of completed steps.
    pub steps: usize,
    /// Number of completed epochs.
    pub epochs: usize,
    /// Retrieval among the images and captions of the holdout, with the default evaluator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Retrieval>,
    /// Loss on the holdout, with the default evaluator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Additional metrics of a custom evaluator, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// The score that selects the best head. Files of version 0.1.0 only have the mean recall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<f64>,
}

impl EvaluationRecord {
    /// Returns the score that selects the best head, higher is better. With the default evaluator, this is the mean
    /// recall.
    pub fn score(&self) -> f64 {
        self.score.or_else(|| self.mean_recall()).unwrap_or(f64::NAN)
    }

    /// Mean of R@1, R@5 and R@10 in both directions, in percent.
    pub fn mean_recall(&self) -> Option<f64> {
        self.holdout.as_ref().map(mean_recall)
    }
}

/// Mean of R@1, R@5 and R@10 in both directions, in percent.
pub(crate) fn mean_recall(Retrieval { i2t, t2i, .. }: &Retrieval) -> f64 {
    [i2t, t2i].iter().map(|scores| scores.r1 + scores.r5 + scores.r10).sum::<f64>() / 6.0
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Record {
    Evaluation(EvaluationRecord),
    Step(StepRecord),
}

/// Every record of a run, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The steps.
    pub steps: Vec<StepRecord>,
    /// The evaluations.
    pub evaluations: Vec<EvaluationRecord>,
}

impl History {
    pub(crate) fn push(&mut self, record: Record) {
        match record {
            Record::Step(step) => self.steps.push(step),
            Record::Evaluation(evaluation) => self.evaluations.push(evaluation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_earlier_versions() {
        let step = r#"{"step":3,"epoch":1,"loss":0.5,"learning_rate":1e-4,"scale":20.0,"bias":-10.0}"#;
        let Record::Step(step) = serde_json::from_str(step).unwrap() else { panic!("expected a step") };
        assert_eq!((step.step, step.gradient_norm, step.statistics), (3, None, None));
        let scores = r#"{"r@1":1.0,"r@5":2.0,"r@10":3.0,"mean_rank":9.0,"median_rank":8.0}"#;
        let line = format!(
            r#"{{"steps":4,"epochs":2,"holdout":{{"i2t":{scores},"t2i":{scores},"n_images":5,"n_texts":6}}}}"#
        );
        let Record::Evaluation(found) = serde_json::from_str(&line).unwrap() else {
            panic!("expected an evaluation")
        };
        assert_eq!((found.steps, found.score()), (4, 2.0));
    }

    #[test]
    fn records_round_trip() {
        let pairs = PairStatistics {
            positive_loss: 1.0,
            negative_loss: 2.0,
            positive_accuracy: 0.25,
            negative_accuracy: 0.5,
        };
        for pairs in [None, Some(pairs)] {
            for statistics in [None, Some(StepStatistics { pairs, pairs_per_second: 9.0, memory: Some(7) })] {
                let step = StepRecord {
                    step: 0,
                    epoch: 0,
                    loss: 0.5,
                    auxiliary: BTreeMap::from([("klot".to_owned(), 0.25)]),
                    learning_rate: 1e-4,
                    scale: 20.0,
                    bias: -10.0,
                    gradient_norm: Some(3.0),
                    skipped: true,
                    statistics,
                };
                let line = serde_json::to_string(&Record::Step(step.clone())).unwrap();
                assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), Record::Step(step), "{line}");
            }
        }
    }
}
