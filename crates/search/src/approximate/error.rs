//! Errors of graphs.

use std::path::PathBuf;

use sail_core::ConfigError;
use sail_data::DataError;

use crate::SearchError;

/// An error of a graph that cannot be built, changed, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Codes and rows do not belong together.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The codes are not of the kind that a graph compares.
    #[error(
        "{what} of part {part} of the codes {found}, expected {expected}: index the images anew, with `--codes int8`"
    )]
    Codes {
        /// The property.
        what: &'static str,
        /// Index of the part.
        part: usize,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// More rows than a graph can number.
    #[error("{found} rows, expected at most {limit}: search them in several indexes")]
    TooLarge {
        /// The number of rows.
        found: usize,
        /// The largest number.
        limit: usize,
    },
    /// Rows were to be added, and there are fewer than before.
    #[error("{found} rows, expected at least the {expected} of the graph: rows are added at the end")]
    Fewer {
        /// The number of rows.
        found: usize,
        /// Rows of the graph.
        expected: usize,
    },
    /// A row is not the one that the graph was built of.
    #[error("row {row} is not the one of the graph: build the graph again")]
    Changed {
        /// Index of the row.
        row: usize,
    },
    /// The stop flag was set.
    #[error("stopped after {done} of {rows} rows: start again")]
    Stopped {
        /// Rows that were added.
        done: usize,
        /// Rows in total.
        rows: usize,
    },
    /// The engine failed.
    #[error("the graph cannot be changed: {0}")]
    Engine(String),
    /// The file cannot be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The file does not hold a graph that this version reads.
    #[error("{} is not a graph of these rows: {what} is {found}, expected {expected}; build it again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part.
        what: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}
