//! Trains an alignment head on frozen features.
//!
//! A [`Trainer`] combines four independent parts: an [`AlignmentHead`](sail_core::AlignmentHead), a
//! [`ContrastiveLoss`](sail_core::ContrastiveLoss), the [`Pairs`](sail_data::Pairs) of features, and a [`TrainConfig`].
//!
//! - **Reproducible.** Batch order, the choice among captions and dropout depend only on the seed. The gradients of the
//!   loss enter the graph of the head as a vector-Jacobian product, so a loss can compute them in closed form.
//! - **Memory-bounded.** The loss is computed in tiles and, with [`Trainer::micro_batch`], the head in micro-batches.
//!   The step remains that of the full batch, and its memory grows only with the embeddings of the batch.
//! - **Resumable.** With a [`RunFolder`], a killed run can be resumed and ends in the same head as an uninterrupted
//!   run, byte for byte on the same device. A checkpoint records the settings, the loss and the keys of its run.
//! - **Extensible.** An [`Auxiliary`] loss is added to the contrastive loss, on the pairs or on [`Unpaired`] rows. An [`Evaluator`] scores the head, an [`Observer`] receives events and the head, and a
//!   [`ParameterGroup`] has a separate learning rate and weight decay, or is frozen.
//!
//! The training loop uses burn's `ModuleOptimizer`. A step consists of [`AlignmentStep::gradients`], the optimizer
//! update, and clamping of the logit scale.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod auxiliary;
mod batch;
mod checkpoint;
mod config;
mod ema;
mod embeddings;
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
mod mixup;
mod model;
mod observer;
mod optimizer;
mod optimizer_config;
mod outcome;
mod parameters;
mod patch_terms;
mod positives;
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
mod unpaired;

pub use auxiliary::Auxiliary;
pub use batch::{AlignmentBatch, StepBatch};
pub use config::TrainConfig;
pub use error::TrainError;
pub use evaluator::{Evaluation, Evaluator, HoldoutRetrieval, pair_retrieval};
pub use folder::RunFolder;
pub use interrupter::Interrupter;
pub use interval::Interval;
pub use learning_rate::LearningRate;
pub use observer::{Event, Observer};
pub use optimizer::optimizer;
pub use optimizer_config::OptimizerConfig;
pub use outcome::{Best, Finish, Outcome, Plan};
pub use parameters::ParameterGroup;
pub use positives::Positives;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use record::{EvaluationRecord, History, PairStatistics, StepRecord, StepStatistics};
pub use schedule::Schedule;
pub use step::{AlignmentStep, StepGradients};
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;
pub use trainer::Trainer;
pub use unpaired::Unpaired;
