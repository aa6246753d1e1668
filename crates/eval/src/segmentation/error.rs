//! What can be wrong with masks and maps.

use sail_core::ConfigError;

/// Masks or maps that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentationError {
    /// Values that are not as many as the size says.
    #[error("a map of {height} x {width} has {found} values, expected {expected}")]
    Length {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values given.
        found: usize,
        /// Rows times columns, times classes where there are logits.
        expected: usize,
    },
    /// Two maps of one image that differ in size.
    #[error(
        "the mask has {found:?} rows and columns, expected {expected:?} as the prediction: is it of another image?"
    )]
    Size {
        /// Rows and columns of the mask.
        found: [usize; 2],
        /// Those of the prediction.
        expected: [usize; 2],
    },
    /// A label that is no class.
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
        /// How many classes there are.
        classes: usize,
    },
    /// A part of a map that is not in it, or of other classes.
    #[error(
        "a window of {size:?} at {place:?} with {classes} classes does not fit a map of {map:?} with {expected}"
    )]
    Window {
        /// Top and left.
        place: [usize; 2],
        /// Height and width.
        size: [usize; 2],
        /// Its classes.
        classes: usize,
        /// Height and width of the map.
        map: [usize; 2],
        /// The map's classes.
        expected: usize,
    },
    /// A pixel that no window covers, so that it has no mean.
    #[error("no window covers row {row}, column {column}")]
    Uncovered {
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// A setting out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
