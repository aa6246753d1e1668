//! What a command can end with.

use std::error::Error;

use sail_vl::SailError;
use sail_vl::core::{ConfigError, FeatureError, HeadError};
use sail_vl::data::DataError;
use sail_vl::device::DeviceError;
use sail_vl::encoders::ModelError;
use sail_vl::eval::EvalError;
use sail_vl::extract::ExtractError;
use sail_vl::hub::HubError;
use sail_vl::probe::ProbeError;
use sail_vl::report::ReportError;
use sail_vl::tasks::{SegmentationSetError, TaskError};
use sail_vl::train::TrainError;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("wrong setting")]
    Config(#[from] ConfigError),
    #[error("wrong `--device`")]
    Device(#[from] DeviceError),
    #[error("cannot use {spec}")]
    Input { spec: String, source: DataError },
    #[error("cannot use {spec}")]
    Features { spec: String, source: FeatureError },
    #[error("cannot use the head {path}")]
    HeadFile { path: String, source: HeadError },
    #[error("the data does not fit together")]
    Data(#[from] DataError),
    #[error("the head does not fit the features")]
    Head(#[from] HeadError),
    #[error("the evaluation failed")]
    Eval(#[from] EvalError),
    #[error("the training failed")]
    Train(#[from] TrainError),
    #[error("interrupted after {done} of {settings} settings: continue with the same command and `--resume`")]
    SweepInterrupted { done: usize, settings: usize },
    #[error("the probe failed")]
    Probe(#[from] ProbeError),
    #[error("interrupted after {done} of {parts} parts: continue with the same command and `--resume`")]
    ProbeInterrupted { done: usize, parts: usize },
    #[error("cannot write the report")]
    Report(#[from] ReportError),
    #[error("interrupted after {steps} steps: continue with the same command and `--resume`")]
    Interrupted { steps: usize },
    #[error("cannot use the data set {spec}")]
    Dataset { spec: String, source: HubError },
    #[error("cannot use the model {spec}")]
    Model { spec: String, source: ModelError },
    #[error("the encoding failed")]
    Extract(#[source] ExtractError),
    #[error("interrupted after {done} of {records} records: continue with the same command and `--resume`")]
    EncodingInterrupted { done: u64, records: u64 },
    #[error("cannot open the model")]
    Open(#[source] SailError),
    #[error("the task failed")]
    Task(#[source] TaskError),
    #[error("interrupted after {done} of {records} records: the same command continues")]
    TaskInterrupted { done: u64, records: u64 },
    #[error("cannot merge the stores")]
    Merge(#[source] ExtractError),
    #[error("cannot use {spec}")]
    SegmentationSet { spec: String, source: Box<SegmentationSetError> },
    #[error("the segmentation failed")]
    Segmentation(#[source] SailError),
    #[error("cannot describe the result")]
    Json(#[from] serde_json::Error),
    #[error("cannot print the result")]
    Output(#[from] std::io::Error),
}

impl From<ExtractError> for CliError {
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::Config(error) => error.into(),
            ExtractError::Stopped { done, records } => Self::EncodingInterrupted { done, records },
            error => Self::Extract(error),
        }
    }
}

impl From<TaskError> for CliError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Extract(ExtractError::Config(error)) => error.into(),
            TaskError::Extract(ExtractError::Stopped { done, records }) => {
                Self::TaskInterrupted { done, records }
            }
            error => Self::Task(error),
        }
    }
}

impl CliError {
    /// 2 for what another command line would have avoided, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Device(_) => 2,
            Self::Task(TaskError::NoSplit { .. } | TaskError::Template { .. }) => 2,
            Self::Segmentation(
                SailError::Config(_) | SailError::Template { .. } | SailError::Segmentation(_),
            ) => 2,
            Self::Train(
                TrainError::Config(_)
                | TrainError::Exists { .. }
                | TrainError::NoRun { .. }
                | TrainError::Chunk { .. }
                | TrainError::Memory { .. }
                | TrainError::Precision { .. }
                | TrainError::UnknownMemory { .. }
                | TrainError::Changed { .. },
            ) => 2,
            Self::Probe(ProbeError::Config(_)) => 2,
            Self::Extract(error) | Self::Merge(error) => match error {
                ExtractError::EmptyPart { .. }
                | ExtractError::Exists { .. }
                | ExtractError::NothingToResume { .. }
                | ExtractError::Changed { .. }
                | ExtractError::Mismatch { .. } => 2,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// The error and everything behind it, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
