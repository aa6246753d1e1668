//! The plan and the outcome of a run.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::History;

/// The plan of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// Total number of steps.
    pub steps: usize,
    /// Number of steps per epoch.
    pub steps_per_epoch: usize,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Micro-batch size, or `None` if the batch is not split.
    pub micro_batch: Option<NonZeroUsize>,
    /// Conservative estimate of the memory of a step, in bytes, or `None` if the memory of the head or the loss is
    /// unknown.
    pub memory: Option<u64>,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Number of completed steps.
    pub steps: usize,
    /// The score. With the default evaluator, this is the mean recall in percent.
    #[serde(alias = "mean_recall")]
    pub score: f64,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// All steps were completed.
    Complete,
    /// The score did not improve within the patience (early stopping).
    Early,
    /// The [`Interrupter`](crate::Interrupter) was used; the run can be resumed.
    Interrupted,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome<H> {
    /// The final head in inference mode, or its moving average if the run computes one.
    pub head: H,
    /// The head of the best evaluation, if it was in this process.
    pub best_head: Option<H>,
    /// Step and score of the best evaluation.
    pub best: Option<Best>,
    /// Why the run ended.
    pub finish: Finish,
    /// All steps and evaluations, including those before a resume.
    pub history: History,
    /// Duration of the training in seconds, including the time before a resume.
    pub seconds: f64,
}
