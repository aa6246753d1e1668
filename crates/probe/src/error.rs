//! Errors of a probe.

use std::path::PathBuf;

use sail_core::{ConfigError, FeatureError, HeadError, TokenLayout};
use sail_data::{DataError, Matched};
use sail_eval::EvalError;
use sail_fit::FitError;
use sail_train::TrainError;

/// An error of a probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A setting out of range.
    #[error("invalid probe")]
    Config(#[from] ConfigError),
    /// No features of a modality.
    #[error("no {what} features, expected at least one set")]
    Empty {
        /// `image` or `text`.
        what: &'static str,
    },
    /// An encoder without features.
    #[error("no features of the encoder `{name}`, expected at least one candidate")]
    NoCandidate {
        /// The encoder.
        name: String,
    },
    /// Token states, which no measure of an encoder is defined on.
    #[error("`{name}` has token states, {found}, expected pooled features: encode with a pooling")]
    Tokens {
        /// The set.
        name: String,
        /// The layout of its rows.
        found: TokenLayout,
    },
    /// Two sets with the same name.
    #[error("two sets of features are named `{name}`, expected unique names")]
    Name {
        /// The name.
        name: String,
    },
    /// Sets with different keys.
    #[error("`{second}` does not match `{first}`")]
    Mismatch {
        /// The first image set.
        first: String,
        /// The set that differs.
        second: String,
        /// The cause.
        #[source]
        source: Box<DataError>,
    },
    /// Too few rows that every set has.
    #[error(
        "{matched} rows of `{name}` have a key that every set has: encode the same items with every encoder, or use the common \
         ones with `--unmatched drop` (`Unmatched::Drop`)"
    )]
    Unmatched {
        /// The set.
        name: String,
        /// How many of its rows are in a pair.
        matched: Matched,
    },
    /// Class labels that differ in number from the images.
    #[error("found {found} class labels, expected {expected}: one for each row of `{first}`")]
    Labels {
        /// Number of labels.
        found: usize,
        /// Number of rows.
        expected: usize,
        /// The first image set.
        first: String,
    },
    /// Pairs that cannot be split or read.
    #[error("invalid pairs")]
    Data(#[from] DataError),
    /// Features that cannot be read or are invalid.
    #[error("invalid features `{name}`")]
    Features {
        /// The set.
        name: String,
        /// The cause.
        #[source]
        source: FeatureError,
    },
    /// A measure that cannot be computed.
    #[error("cannot measure {of}")]
    Measure {
        /// The set, or the pair.
        of: String,
        /// The cause.
        #[source]
        source: EvalError,
    },
    /// A head in closed form that cannot be fitted.
    #[error("cannot fit {of}")]
    Fit {
        /// The pair.
        of: String,
        /// The cause.
        #[source]
        source: Box<FitError>,
    },
    /// The linear head cannot be created.
    #[error("cannot create the linear head")]
    Head(#[from] HeadError),
    /// The training of a pair failed.
    #[error("cannot train {of}")]
    Train {
        /// The pair.
        of: String,
        /// The cause.
        #[source]
        source: Box<TrainError>,
    },
    /// A part file that cannot be parsed.
    #[error("{path} is corrupt ({reason}): remove it to compute it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Message of the parser.
        reason: String,
    },
    /// A part file that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
    /// A part file that cannot be written.
    #[error("cannot write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
    /// Interruption; the finished parts are in the folder, if there is one.
    #[error("interrupted after {done} of {parts} parts")]
    Interrupted {
        /// Number of finished parts.
        done: usize,
        /// Number of parts.
        parts: usize,
    },
}
