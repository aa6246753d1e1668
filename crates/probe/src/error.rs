//! What can go wrong in a probe.

use std::path::PathBuf;

use sail_core::{ConfigError, FeatureError, HeadError};
use sail_data::DataError;
use sail_eval::EvalError;
use sail_train::TrainError;

/// A probe that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A setting out of its range.
    #[error("invalid probe")]
    Config(#[from] ConfigError),
    /// Nothing to probe.
    #[error("there are no {what} features, expected at least one set")]
    Empty {
        /// `image` or `text`.
        what: &'static str,
    },
    /// Two sets of one name.
    #[error("two sets of features are called `{name}`: give each a name of its own")]
    Name {
        /// The name.
        name: String,
    },
    /// Sets that are not of the same images.
    #[error("`{second}` does not go with `{first}`: every set of a grid has to hold the same keys")]
    Mismatch {
        /// The first set of images.
        first: String,
        /// The set that differs.
        second: String,
        /// How.
        #[source]
        source: Box<DataError>,
    },
    /// Classes that do not fit the images.
    #[error("there are {found} class labels, expected {expected}: one for each row of `{first}`")]
    Labels {
        /// How many there are.
        found: usize,
        /// How many rows there are.
        expected: usize,
        /// The first set of images.
        first: String,
    },
    /// Pairs that cannot be split or read.
    #[error("cannot use the pairs")]
    Data(#[from] DataError),
    /// Rows that cannot be read or used.
    #[error("cannot use the features `{name}`")]
    Features {
        /// The set.
        name: String,
        /// Why.
        #[source]
        source: FeatureError,
    },
    /// A measure that cannot be computed.
    #[error("cannot measure {of}")]
    Measure {
        /// The set, or the pair.
        of: String,
        /// Why.
        #[source]
        source: EvalError,
    },
    /// The head of the probe cannot be made.
    #[error("cannot make the linear head")]
    Head(#[from] HeadError),
    /// The training of a pair failed.
    #[error("cannot train {of}")]
    Train {
        /// The pair.
        of: String,
        /// Why.
        #[source]
        source: Box<TrainError>,
    },
    /// A part of an earlier probe that cannot be read.
    #[error("{path} is damaged ({reason}): remove it, and it is computed again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder of the probe cannot be written.
    #[error("cannot write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Somebody stopped it; what is finished is in the folder, if there is one.
    #[error("interrupted after {done} of {parts} parts")]
    Interrupted {
        /// Finished parts.
        done: usize,
        /// Parts in all.
        parts: usize,
    },
}
