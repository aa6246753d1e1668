//! Errors of searches.

use std::path::PathBuf;

use sail_core::FeatureError;

/// An error of a search.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The queries are not a whole number of rows.
    #[error("the queries have {found} values, expected a multiple of the dimension {dim}")]
    Dimension {
        /// Number of values.
        found: usize,
        /// Dimension of the collection.
        dim: usize,
    },
    /// A query has no direction.
    #[error("query {index} has the norm {norm}, expected a vector with a direction")]
    Query {
        /// Index of the query.
        index: usize,
        /// Zero, NaN or infinite.
        norm: f32,
    },
    /// A set of rows belongs to another collection.
    #[error("the set is of {found} rows and the collection has {expected}")]
    Rows {
        /// Rows of the set's collection.
        found: usize,
        /// Rows of this collection.
        expected: usize,
    },
    /// Codes belong to another collection.
    #[error("the codes have {found} {what} and the collection has {expected}: encode them again")]
    Codes {
        /// `rows` or `dimensions`.
        what: &'static str,
        /// Those of the codes.
        found: usize,
        /// Those of the collection.
        expected: usize,
    },
    /// Rows cannot be read.
    #[error("cannot read the rows")]
    Features(#[source] FeatureError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
