//! What a run will do, and what it did.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::History;

/// What a run will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// Steps in all.
    pub steps: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Rows of a micro-batch; `None` if the batch is not divided.
    pub micro_batch: Option<NonZeroUsize>,
    /// Estimate of the memory that a step takes, in bytes, rather too high than too low; `None` if the head or the loss
    /// does not state its own.
    pub memory: Option<u64>,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps taken before it.
    pub steps: usize,
    /// Its score: with the default evaluator the mean recall, in percent.
    #[serde(alias = "mean_recall")]
    pub score: f64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// All steps were taken.
    Complete,
    /// The score did not improve for as many evaluations as the patience allows.
    Early,
    /// The [`Interrupter`](crate::Interrupter) was used; the run can be resumed.
    Interrupted,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome<H> {
    /// The head at the end, ready for inference; the average, if the run kept one.
    pub head: H,
    /// The head of the best evaluation, if that was in this process.
    pub best_head: Option<H>,
    /// When the best evaluation was, and its score.
    pub best: Option<Best>,
    /// How the run ended.
    pub finish: Finish,
    /// Every step and evaluation, including those before a resume.
    pub history: History,
    /// Time spent in the loop, in seconds, including that before a resume.
    pub seconds: f64,
}
