//! Errors of segmentation.

use sail_core::ConfigError;

/// An error of masks, logit maps or windows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentationError {
    /// A number of values that does not match the size.
    #[error("a map of {height} x {width} has {found} values, expected {expected}")]
    Length {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Number of values.
        found: usize,
        /// Rows times columns, times classes for logits.
        expected: usize,
    },
    /// A mask and a prediction of different sizes.
    #[error(
        "the mask has {found:?} rows and columns, expected {expected:?} as the prediction: check that both are of the same image"
    )]
    Size {
        /// Rows and columns of the mask.
        found: [usize; 2],
        /// Rows and columns of the prediction.
        expected: [usize; 2],
    },
    /// A label that is not a class.
    #[error(
        "the {what} has label {label} at row {row}, column {column}, expected a class below {classes} or the \
         ignored label: is this the right layout?"
    )]
    Label {
        /// `mask` or `prediction`.
        what: &'static str,
        /// The label.
        label: u16,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A window outside of the map, or with another number of classes.
    #[error(
        "a window of {size:?} at {place:?} with {classes} classes does not fit a map of {map:?} with {expected}"
    )]
    Window {
        /// Top and left.
        place: [usize; 2],
        /// Height and width.
        size: [usize; 2],
        /// Number of classes of the window.
        classes: usize,
        /// Height and width of the map.
        map: [usize; 2],
        /// Number of classes of the map.
        expected: usize,
    },
    /// A pixel that is not covered by a window.
    #[error("no window covers row {row}, column {column}")]
    Uncovered {
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// A setting out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
