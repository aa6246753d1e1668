//! Errors of the command and their exit codes.

use std::error::Error;
use std::path::{Path, PathBuf};

use sail_vl::SailError;
use sail_vl::core::{ConfigError, FeatureError, HeadError, LossError, TowerError};
use sail_vl::data::DataError;
use sail_vl::device::DeviceError;
use sail_vl::encoders::ModelError;
use sail_vl::eval::{EvalError, SegmentationError};
use sail_vl::extract::ExtractError;
use sail_vl::fit::FitError;
use sail_vl::hub::HubError;
use sail_vl::probe::ProbeError;
use sail_vl::recipe::RecipeError;
use sail_vl::report::ReportError;
use sail_vl::search::curation::CurationError;
use sail_vl::search::{IndexError, QueryError};
use sail_vl::tasks::{PairingError, SegmentationSetError, TaskError};
use sail_vl::train::TrainError;

use crate::interrupt;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("invalid setting")]
    Config(#[from] ConfigError),
    #[error("invalid `--device`")]
    Device(#[from] DeviceError),
    #[error("cannot use {spec}")]
    Input { spec: String, source: DataError },
    #[error("cannot use {spec}")]
    Features { spec: String, source: FeatureError },
    #[error("cannot open a model of the index, use `--vision-model` and `--text-model`")]
    SearchModel(#[source] SailError),
    #[error("cannot search for this")]
    Query(#[from] QueryError),
    #[error("cannot compare the rows of {spec}")]
    Curation { spec: String, source: CurationError },
    #[error("cannot use the head {path}")]
    HeadFile { path: String, source: HeadError },
    #[error("cannot use the index {path}")]
    Index { path: Box<Path>, source: IndexError },
    #[error("invalid data")]
    Data(#[from] DataError),
    #[error("cannot pair the folders of {spec} with the classes")]
    Classes { spec: String, source: PairingError },
    #[error("the head does not match the features")]
    Head(#[from] HeadError),
    #[error("evaluation failed")]
    Eval(#[from] EvalError),
    #[error("training failed")]
    Train(#[from] TrainError),
    #[error(
        "interrupted after {done} of {settings} settings: run the same command with `--resume` to continue"
    )]
    SweepInterrupted { done: usize, settings: usize },
    #[error("none of the {settings} settings could be trained; {first}: {reason}")]
    SweepDiverged { settings: usize, first: String, reason: String },
    #[error(
        "{failed} of {settings} settings failed for lack of memory: run the same command with `--resume` to try again"
    )]
    SweepFailed { failed: usize, settings: usize },
    #[error("cannot fit the head")]
    Fit(#[source] FitError),
    #[error("probe failed")]
    Probe(#[from] ProbeError),
    #[cfg(feature = "objects")]
    #[error("cannot use objects")]
    Objects(#[from] sail_vl::objects::ObjectError),
    #[error("cannot write the report")]
    Report(#[from] ReportError),
    #[error("interrupted after {steps} steps: run the same command with `--resume` to continue")]
    Interrupted { steps: usize },
    #[error("cannot use the data set {spec}")]
    Dataset { spec: String, source: HubError },
    #[error("cannot use the model {spec}")]
    Model { spec: String, source: ModelError },
    #[error(
        "the row of the {side} differs from {library} by {distance:.1e} of its scale, expected at most {tolerance:.0e}: compare \
         `sail models show` with the settings of the reference"
    )]
    Differs { side: &'static str, library: String, distance: f64, tolerance: f64 },
    #[error("encoding failed")]
    Extract(#[source] ExtractError),
    #[error(
        "interrupted after {done} of {records} records: run the same command with `--resume` to continue"
    )]
    EncodingInterrupted { done: u64, records: u64 },
    #[error("the model cannot encode a test input")]
    Tower(#[from] TowerError),
    #[error("cannot open the model")]
    Open(#[source] SailError),
    #[error("cannot open the backbones of the head, use `--vision` and `--text`")]
    Backbone(#[source] SailError),
    #[error("evaluation failed")]
    Task(#[source] TaskError),
    #[error("interrupted after {done} of {records} records: run the same command to continue")]
    TaskInterrupted { done: u64, records: u64 },
    #[error("interrupted: nothing was written")]
    CopyInterrupted,
    #[error("cannot merge the stores")]
    Merge(#[source] ExtractError),
    #[error("cannot use {spec}")]
    SegmentationSet { spec: String, source: Box<SegmentationSetError> },
    #[error("segmentation failed")]
    Segmentation(#[source] SailError),
    #[cfg(feature = "serve")]
    #[error("cannot serve the index")]
    Serve(#[source] sail_vl::serve::ServeError),
    #[error("cannot serialize the result")]
    Json(#[from] serde_json::Error),
    #[error("cannot write to {path}")]
    Write { path: PathBuf, source: std::io::Error },
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

impl From<FitError> for CliError {
    fn from(error: FitError) -> Self {
        match error {
            FitError::Config(error) => error.into(),
            FitError::Data(error) => error.into(),
            FitError::Head(error) => error.into(),
            error => Self::Fit(error),
        }
    }
}

impl From<SegmentationError> for CliError {
    fn from(error: SegmentationError) -> Self {
        Self::Segmentation(error.into())
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

impl From<RecipeError> for CliError {
    fn from(error: RecipeError) -> Self {
        match error {
            RecipeError::Config(error) => error.into(),
            RecipeError::Pairs(error) => error.into(),
            RecipeError::Head(error) => error.into(),
            RecipeError::Open { spec, source } => Self::Input { spec, source },
            RecipeError::Features { spec, source } => Self::Features { spec, source },
            RecipeError::HeadFile { path, source } => {
                Self::HeadFile { path: path.display().to_string(), source }
            }
            // What remains is what the user wrote, in options or in a file.
            error => Self::Usage(chain(&error)),
        }
    }
}

impl CliError {
    /// 130 if interrupted, 2 for invalid usage, 1 for every other failure.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { .. }
            | Self::SweepInterrupted { .. }
            | Self::CopyInterrupted
            | Self::EncodingInterrupted { .. }
            | Self::TaskInterrupted { .. } => interrupt::EXIT_CODE,
            Self::Usage(_) | Self::Config(_) | Self::Device(_) | Self::Query(_) => 2,
            // Settings in a head file are no usage.
            Self::HeadFile { .. } | Self::Open(SailError::Head(_)) => 1,
            Self::Train(
                TrainError::Exists { .. }
                | TrainError::NoRun { .. }
                | TrainError::MicroBatch { .. }
                | TrainError::Memory { .. }
                | TrainError::Precision { .. }
                | TrainError::UnknownMemory { .. }
                | TrainError::Changed { .. }
                | TrainError::Loss(LossError::Groups),
            ) => 2,
            Self::Extract(error) | Self::Merge(error) => match error {
                ExtractError::EmptyPart { .. }
                | ExtractError::Exists { .. }
                | ExtractError::NothingToResume { .. }
                | ExtractError::Changed { .. }
                | ExtractError::Mismatch { .. } => 2,
                error => Self::usage_or_failure(error),
            },
            error => Self::usage_or_failure(error),
        }
    }

    fn usage_or_failure(error: &(dyn Error + 'static)) -> u8 {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if is_usage(error) {
                return 2;
            }
            cause = error.source();
        }
        1
    }

    /// Returns whether the reader of the output has stopped reading, such as `head`, which is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// The error and its causes, on one line.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}

/// Returns whether an error is about options rather than about what they refer to.
fn is_usage(error: &(dyn Error + 'static)) -> bool {
    use DataError::{BatchTooSmall, Holdout, NoColumn, SourceOption, TooFewRows};
    use SailError::{Config, Segmentation, Template, Unrecorded};
    let data = matches!(
        error.downcast_ref(),
        Some(
            BatchTooSmall { .. } | Holdout { .. } | NoColumn { .. } | SourceOption { .. } | TooFewRows { .. }
        )
    );
    let model = matches!(
        error.downcast_ref(),
        Some(Config(_) | Segmentation(SegmentationError::Config(_)) | Template { .. } | Unrecorded { .. })
    );
    let task = matches!(error.downcast_ref(), Some(TaskError::NoSplit { .. } | TaskError::Template { .. }));
    let option = matches!(error.downcast_ref(), Some(ModelError::Option(_)));
    let index = matches!(
        error.downcast_ref(),
        Some(IndexError::Exists { .. } | IndexError::Setting { .. } | IndexError::Filter { .. })
    );
    error.is::<ConfigError>() || data || model || task || option || index
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
