//! Training of an alignment head on frozen features.
//!
//! A [`Trainer`] joins four parts that know nothing of each other: an [`AlignmentHead`](sail_core::AlignmentHead),
//! a [`ContrastiveLoss`](sail_core::ContrastiveLoss), the [`Pairs`](sail_data::Pairs) of features, and a
//! [`TrainConfig`]. It runs burn-train's [`Learner`](burn::train::Learner) over them step by step.
//!
//! - **Exact.** Batch order, the choice among captions and dropout depend on the seed alone, and the loss's gradients
//!   enter the head's graph without a detour, so that a loss may compute them any way it likes.
//! - **Bounded.** The loss goes over the pairs in tiles, and with [`Trainer::chunk`] the head over the batch in chunks:
//!   the exact step of a batch of any size, in memory that grows with the batch's embeddings alone.
//! - **Resumable.** With a [`RunFolder`], a run that was killed at any moment ends in the same head, byte for byte
//!   on the same device, as one that was not.
//! - **Observable.** Every step and evaluation goes to `metrics.jsonl` and to any [`Observer`].
//!
//! Why not burn-train's `SupervisedTraining` as a whole: its checkpoints are three files an epoch that a kill can
//! leave unlike each other, reading them back panics, and its metrics average over batches, which retrieval over
//! a set cannot.

mod checkpoint;
mod config;
mod error;
mod folder;
mod gradient_cache;
mod lion;
mod memory;
mod observer;
mod optimizer;
mod precision;
#[cfg(feature = "progress")]
mod progress;
mod record;
mod schedule;
mod task;
mod trainer;

pub use config::{OptimizerConfig, TrainConfig};
pub use error::TrainError;
pub use folder::RunFolder;
pub use observer::{Event, Observer};
pub use optimizer::optimizer;
pub use precision::Precision;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use record::{EvaluationRecord, History, StepRecord};
pub use schedule::WarmupCosine;
pub use task::{AlignmentBatch, AlignmentTask, StepOutput};
pub use trainer::{Best, Finish, Outcome, Trainer};

/// The handle that stops a run between two steps.
pub use burn::train::Interrupter;
