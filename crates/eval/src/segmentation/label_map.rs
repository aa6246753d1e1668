//! Label maps.

use super::SegmentationError;

/// The label of pixels that are excluded from scores.
pub const IGNORED: u8 = 255;

/// A class for every pixel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    size: [usize; 2],
    labels: Vec<u8>,
}

impl LabelMap {
    /// Creates a map of `size` rows and columns.
    ///
    /// # Shapes
    /// - labels: rows times columns
    ///
    /// # Errors
    /// [`SegmentationError::Length`] if the number of labels does not match the size.
    pub fn new(size: [usize; 2], labels: Vec<u8>) -> Result<Self, SegmentationError> {
        let [height, width] = size;
        let (found, expected) = (labels.len(), height.saturating_mul(width));
        if found != expected {
            return Err(SegmentationError::Length { height, width, found, expected });
        }
        Ok(Self { size, labels })
    }

    /// Returns the numbers of rows and columns.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Returns the labels, row by row.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Checks that every label is a class or, if `ignored`, [`IGNORED`].
    ///
    /// # Errors
    /// [`SegmentationError::Label`] with the first invalid label; `what` names the map in the message.
    pub fn check(&self, classes: usize, ignored: bool, what: &'static str) -> Result<(), SegmentationError> {
        let invalid = |label: &u8| usize::from(*label) >= classes && !(ignored && *label == IGNORED);
        match self.labels.iter().position(invalid) {
            None => Ok(()),
            Some(index) => {
                let (row, column) = (index / self.size[1], index % self.size[1]);
                Err(SegmentationError::Label { what, label: self.labels[index], row, column, classes })
            }
        }
    }
}
