//! Errors of reports.

use std::path::PathBuf;

/// An error of building or saving a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A table row does not have one cell for each column.
    #[error("row {row} of the table [{columns}] has {found} cells, expected {expected}, one per column")]
    RowLength {
        /// Column names of the table, joined.
        columns: String,
        /// Index of the row, counted from 1.
        row: usize,
        /// Number of columns.
        expected: usize,
        /// Number of cells in the row.
        found: usize,
    },
    /// A column to emphasise is not in the table.
    #[error("unknown column {found:?}, expected one of [{columns}]")]
    UnknownColumn {
        /// Column names of the table, joined.
        columns: String,
        /// The unknown column name.
        found: String,
    },
    /// Image bytes that are neither PNG nor JPEG.
    #[error(
        "unsupported image format, expected PNG or JPEG, found a file that starts with [{found}]: convert it first"
    )]
    ImageFormat {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The file could not be written; an existing file is left unchanged.
    #[error("cannot write the report {}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
}
