//! What can be wrong with a report.

use std::path::PathBuf;

/// An error of building or saving a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A table row does not have one cell for each column.
    #[error(
        "row {row} of the table [{columns}] has {found} cells, expected {expected}: give one cell a column"
    )]
    RowLength {
        /// The table's column names, joined.
        columns: String,
        /// Index of the row, counted from 1.
        row: usize,
        /// Number of columns.
        expected: usize,
        /// Number of cells in the row.
        found: usize,
    },
    /// A column named for emphasis is not in the table.
    #[error("no column {found:?} in the table [{columns}]: name one of its columns")]
    UnknownColumn {
        /// The table's column names, joined.
        columns: String,
        /// The name that was asked for.
        found: String,
    },
    /// Image bytes that are neither PNG nor JPEG.
    #[error(
        "expected the bytes of a PNG or JPEG image, found a file that starts with [{found}]: convert it first"
    )]
    ImageFormat {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The file could not be written; whatever was there before is untouched.
    #[error("cannot write the report {}", path.display())]
    Save {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
