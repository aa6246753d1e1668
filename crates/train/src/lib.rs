//! Training of an alignment head on frozen features.
//!
//! A [`Trainer`] joins four independent parts: an [`AlignmentHead`](sail_core::AlignmentHead), a
//! [`ContrastiveLoss`](sail_core::ContrastiveLoss), the [`Pairs`](sail_data::Pairs) of features, and a [`TrainConfig`].
//!
//! - **Exact.** Batch order, the choice among captions and dropout depend on the seed alone, and the loss's gradients
//!   enter the head's graph as a vector-Jacobian product, so that a loss may compute them any way it likes.
//! - **Bounded.** The loss goes over the pairs in tiles, and with [`Trainer::micro_batch`] the head over the batch in
//!   micro-batches: the exact step of a batch of any size, in memory that grows with the batch's embeddings alone.
//! - **Resumable.** With a [`RunFolder`], a run that was killed at any moment ends in the same head, byte for byte on the
//!   same device, as one that was not. A checkpoint is bound to the settings, the loss and the keys of its run.
//! - **Open.** An [`Evaluator`] decides what the best head is; an [`Observer`] sees every event and the head; a
//!   [`ParameterGroup`] trains under a rate and a decay of its own, or not at all.
//!
//! The loop is its own, on burn's `ModuleOptimizer`: a step is [`AlignmentStep::gradients`], the optimizer, and the
//! clamp of the logit scale.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod checkpoint;
mod config;
mod ema;
mod error;
mod evaluator;
mod folder;
mod gradient_cache;
mod gradients;
mod interrupter;
mod interval;
mod learning_rate;
mod lion;
mod loss_scale;
mod memory;
mod model;
mod observer;
mod optimizer;
mod optimizer_config;
mod outcome;
mod parameters;
mod precision;
#[cfg(feature = "progress")]
mod progress;
mod record;
mod run;
mod schedule;
mod signature;
mod step;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod trainer;

pub use batch::AlignmentBatch;
pub use config::TrainConfig;
pub use error::TrainError;
pub use evaluator::{Evaluation, Evaluator, HoldoutRetrieval};
pub use folder::RunFolder;
pub use interrupter::Interrupter;
pub use interval::Interval;
pub use learning_rate::LearningRate;
pub use observer::{Event, Observer};
pub use optimizer::optimizer;
pub use optimizer_config::OptimizerConfig;
pub use outcome::{Best, Finish, Outcome, Plan};
pub use parameters::ParameterGroup;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use record::{EvaluationRecord, History, PairStatistics, StepRecord, StepStatistics};
pub use schedule::Schedule;
pub use step::{AlignmentStep, StepGradients};
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;
pub use trainer::Trainer;
