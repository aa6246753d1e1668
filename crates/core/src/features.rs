//! Frozen features.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::Provenance;

/// A matrix of frozen features with a key for every row.
///
/// Rows of two sources with the same key belong together. In a source of images every key is unique; a source of texts may
/// repeat keys (several captions of one image).
pub trait FeatureSource: Send + Sync {
    /// Returns the number of rows.
    fn rows(&self) -> usize;

    /// Returns the embedding dimension.
    fn dim(&self) -> usize;

    /// Returns the key of a row, for display. `row` is less than [`rows`](FeatureSource::rows).
    ///
    /// The key may be empty if it cannot be read; use [`keys`](FeatureSource::keys) if the result depends on it.
    fn key(&self, row: usize) -> Cow<'_, str>;

    /// Returns the keys of `rows`, in order. Sources that keep keys on disk should override this method to read many keys
    /// at once.
    ///
    /// # Errors
    /// Returns [`FeatureError`] if the keys cannot be read.
    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, FeatureError> {
        Ok(rows.iter().map(|&row| self.key(row).into_owned()).collect())
    }

    /// Returns the number of rows of each source that this one is concatenated from; of a single source, its own.
    fn part_rows(&self) -> Vec<usize> {
        vec![self.rows()]
    }

    /// Returns whether the keys are just row indices, as for a plain matrix. Such a source is paired by position.
    fn positional(&self) -> bool {
        false
    }

    /// Returns the backbone, pooling and preprocessing of the features, if known.
    fn provenance(&self) -> Option<&Provenance>;

    /// Copies rows into `out` as `f32`, in the order of `rows`.
    ///
    /// # Shapes
    /// - out: `rows.len() * dim`, row-major
    ///
    /// # Errors
    /// Returns [`FeatureError::OutOfRange`] for an invalid row index, and I/O errors.
    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError>;
}

/// An error of features that cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// A row index is out of range.
    #[error("row {row} is out of range: the source has {rows} rows")]
    OutOfRange {
        /// The index.
        row: usize,
        /// The number of rows.
        rows: usize,
    },
    /// The output slice has the wrong length.
    #[error("the output slice has {found} values, expected {expected}")]
    OutputSize {
        /// Length of the slice.
        found: usize,
        /// `rows * dim`.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error(
        "row {row} (key `{key}`) has the value {value} in column {column}: encode it again or leave it out"
    )]
    NotFinite {
        /// Index of the row.
        row: usize,
        /// Key of the row.
        key: String,
        /// The first such column.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A row is all zeros: it has no direction and cannot be aligned.
    #[error("row {row} (key `{key}`) is all zeros and has no direction: encode it again or leave it out")]
    ZeroNorm {
        /// Index of the row.
        row: usize,
        /// Key of the row.
        key: String,
    },
    /// A file has changed since it was opened.
    #[error(
        "{path} was changed or replaced while in use: its {what} is {found}, expected {expected} as when it was opened; \
         restore the file, or start again with the new one"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The property that differs.
        what: &'static str,
        /// Its current value.
        found: String,
        /// Its value when the file was opened.
        expected: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
}
