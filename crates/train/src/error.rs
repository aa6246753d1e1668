//! The error type of training runs.

use std::path::{Path, PathBuf};

use sail_core::{ConfigError, FeatureError, HeadError, LossError};

/// An error that prevents a run from starting or continuing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration is invalid.
    #[error("invalid training configuration")]
    Config(#[from] ConfigError),
    /// The data cannot be paired or batched.
    #[error("cannot train on this data")]
    Data(#[from] sail_data::DataError),
    /// Features cannot be read, or a row is invalid.
    #[error("cannot use the features")]
    Features(#[from] FeatureError),
    /// The head does not accept the features.
    #[error("the head does not fit the data")]
    Head(#[from] HeadError),
    /// The loss does not accept the batch.
    #[error("cannot compute the loss")]
    Loss(#[from] LossError),
    /// An auxiliary loss cannot be computed.
    #[error("cannot compute the auxiliary loss")]
    Auxiliary(#[from] sail_core::AuxiliaryError),
    /// An auxiliary loss needs images and texts that are not paired.
    #[error(
        "the loss `{name}` is computed on unpaired images and texts, and there are none: add them to the run"
    )]
    NoUnpaired {
        /// The name of the loss.
        name: String,
    },
    /// There are unpaired images and texts, and no loss that is computed on them.
    #[error("no loss is computed on the unpaired images and texts: add such a loss, or leave them out")]
    UnusedUnpaired,
    /// The holdout cannot be evaluated.
    #[error("cannot evaluate the holdout")]
    Evaluation(#[from] sail_eval::EvalError),
    /// An evaluator failed.
    #[error("the evaluation failed")]
    Evaluator(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The device failed, usually because it ran out of memory.
    #[error(
        "the device failed; if it ran out of memory, limit the memory of a step with `--memory` or `--micro-batch` \
         (`Trainer::memory`, `Trainer::micro_batch`), or reduce the batch size"
    )]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The batch cannot be split into micro-batches.
    #[error(
        "cannot split the batch into micro-batches of {rows} rows: the head's output depends on \
         other rows or is random (batch norm, dropout); train without micro-batches or choose another head"
    )]
    MicroBatch {
        /// Number of rows of a micro-batch.
        rows: usize,
    },
    /// The memory budget is too small for a step.
    #[error(
        "a memory budget of {} MiB is too small for a step, expected at least {} MiB; \
         raise it, or choose a smaller batch or head", budget >> 20, least.div_ceil(1 << 20)
    )]
    Memory {
        /// The budget, in bytes.
        budget: u64,
        /// The minimum memory of a step, in bytes.
        least: u64,
    },
    /// The memory of a step is unknown.
    #[error("cannot apply a memory budget: the memory of {part} is unknown; set a micro-batch size instead")]
    UnknownMemory {
        /// The head, or the loss.
        part: &'static str,
    },
    /// The head or the device does not support the dtype.
    #[error("{part} does not support {precision}: train in f32 or choose another")]
    Precision {
        /// The dtype.
        precision: sail_core::Dtype,
        /// The head, or the device by name.
        part: String,
    },
    /// The settings cannot be serialized.
    #[error("cannot serialize the settings of the run: {0}")]
    Signature(String),
    /// The loss, a gradient or a weight is no longer finite.
    #[error(
        "{what} is {value} at step {step}: the run was stopped before saving this state; \
         lower the learning rate or check the scale of the features, and restart"
    )]
    NotFinite {
        /// The loss, the gradient, or a weight.
        what: &'static str,
        /// The step, counted from 0.
        step: usize,
        /// The value: NaN or infinite.
        value: f64,
    },
    /// A file of the run cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
    /// The folder of a new run exists already.
    #[error("{path} exists: choose another folder, or resume the run in it")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error("{path} contains no run to resume: config.json is missing")]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The run was started with another configuration.
    #[error("the run in {path} was started with other settings: they differ in {}", fields.join(", "))]
    Changed {
        /// The folder.
        path: PathBuf,
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// Another process has locked the folder.
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

    /// Returns a constructor of [`Damaged`](Self::Damaged), for `map_err`.
    pub(crate) fn damaged<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |reason| Self::Damaged { path, reason: reason.to_string() }
    }
}
