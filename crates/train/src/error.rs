//! What can go wrong in a run.

use std::path::{Path, PathBuf};

use sail_core::{ConfigError, FeatureError, HeadError, LossError};

/// A run that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration is invalid.
    #[error("invalid training configuration")]
    Config(#[from] ConfigError),
    /// The data cannot be paired or batched.
    #[error("cannot train on this data")]
    Data(#[from] sail_data::DataError),
    /// Features could not be read, or a row cannot be used.
    #[error("cannot use the features")]
    Features(#[from] FeatureError),
    /// The head does not take the features.
    #[error("the head does not fit")]
    Head(#[from] HeadError),
    /// The loss does not take the batch.
    #[error("the loss does not fit")]
    Loss(#[from] LossError),
    /// The holdout cannot be evaluated.
    #[error("cannot evaluate the holdout")]
    Evaluation(#[from] sail_eval::EvalError),
    /// An evaluator failed.
    #[error("the evaluation failed")]
    Evaluator(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The device failed, out of memory as a rule.
    #[error(
        "the device failed; if it ran out of memory, give a step less of it with `--memory` or `--micro-batch` \
         (`Trainer::memory`, `Trainer::micro_batch`), or lower the batch size"
    )]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The batch cannot be divided into micro-batches.
    #[error(
        "cannot divide the batch into micro-batches of {rows} rows: the head's rows depend on each other or on chance \
         (batch norm, dropout); leave the micro-batch out or choose another head"
    )]
    MicroBatch {
        /// The rows of a micro-batch.
        rows: usize,
    },
    /// No step fits into the memory budget.
    #[error(
        "a memory budget of {} MiB is too small for a step, expected at least {} MiB; \
         give more, or choose a smaller batch or head", budget >> 20, least.div_ceil(1 << 20)
    )]
    Memory {
        /// The budget, in bytes.
        budget: u64,
        /// What the smallest step takes, in bytes.
        least: u64,
    },
    /// A part of the step does not state how much memory it takes.
    #[error(
        "cannot fit a step into a memory budget: {part} does not state its memory; set a micro-batch instead"
    )]
    UnknownMemory {
        /// The head, or the loss.
        part: &'static str,
    },
    /// The head or the device does not compute in the precision of the run.
    #[error("{part} does not compute in {precision}; train in f32, or choose another")]
    Precision {
        /// The precision.
        precision: sail_core::Dtype,
        /// The head, or the device by name.
        part: String,
    },
    /// The settings could not be serialised.
    #[error("cannot serialise the settings of the run: {0}")]
    Signature(String),
    /// The loss, a gradient or a weight is no longer finite.
    #[error(
        "{what} is {value} at step {step}: the run stopped before it could damage a checkpoint; \
         lower the learning rate or check the scale of the features, and start again"
    )]
    NotFinite {
        /// The loss, the gradient, or a weight.
        what: &'static str,
        /// The step, from 0.
        step: usize,
        /// NaN or an infinity.
        value: f64,
    },
    /// A file of the run could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A new run would overwrite something.
    #[error("{path} exists: choose another folder, or resume the run in it")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error("{path} holds no run to resume: it has no config.json")]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The run was started with another configuration.
    #[error("the run in {path} was started with other settings, which differ in {}", fields.join(", "))]
    Changed {
        /// The folder.
        path: PathBuf,
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// Another process holds the folder.
    #[error("another process is training in {path}")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the run is damaged.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<burn::tensor::ExecutionError> for TrainError {
    fn from(error: burn::tensor::ExecutionError) -> Self {
        Self::Device(Box::new(error))
    }
}

impl From<burn::tensor::TensorReadError> for TrainError {
    fn from(error: burn::tensor::TensorReadError) -> Self {
        Self::Device(Box::new(error))
    }
}

impl TrainError {
    /// Wraps an I/O error with the path that it concerns, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// A damaged file, for `map_err`.
    pub(crate) fn damaged<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |reason| Self::Damaged { path, reason: reason.to_string() }
    }
}
