//! What is known of a run after each step and evaluation.

use sail_eval::Retrieval;
use serde::{Deserialize, Serialize};

/// One optimiser step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which step, from 0.
    pub step: usize,
    /// Which epoch it belongs to, from 0.
    pub epoch: usize,
    /// The loss before the step.
    pub loss: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The logit scale before the step, `exp(log_scale)`.
    pub scale: f64,
    /// The logit bias before the step.
    pub bias: f64,
}

/// One evaluation on the holdout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Steps taken before it.
    pub steps: usize,
    /// Epochs completed before it.
    pub epochs: usize,
    /// Retrieval among the holdout's images and captions.
    pub holdout: Retrieval,
}

impl EvaluationRecord {
    /// Mean of R@1, R@5 and R@10 in both directions, in percent: what "best" means.
    pub fn mean_recall(&self) -> f64 {
        let Retrieval { i2t, t2i, .. } = &self.holdout;
        [i2t, t2i].iter().map(|scores| scores.r1 + scores.r5 + scores.r10).sum::<f64>() / 6.0
    }
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
