//! Label maps.

use super::SegmentationError;

/// The label of pixels that are excluded from every score, such as object borders and unlabelled regions.
///
/// Files have labels of their own for this, such as 255 in 8-bit masks; whatever reads them maps those to this one.
pub const IGNORED: u16 = u16::MAX;

/// A class for every pixel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    size: [usize; 2],
    labels: Vec<u16>,
}

impl LabelMap {
    /// Creates a map of `size` rows and columns.
    ///
    /// # Shapes
    /// - labels: rows times columns
    ///
    /// # Errors
    /// [`SegmentationError::Length`] if the number of labels does not match the size.
    pub fn new(size: [usize; 2], labels: Vec<u16>) -> Result<Self, SegmentationError> {
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
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Checks that every label is a class or, if `ignored`, [`IGNORED`].
    ///
    /// # Errors
    /// [`SegmentationError::Label`] with the first invalid label; `what` names the map in the message.
    pub fn check(&self, classes: usize, ignored: bool, what: &'static str) -> Result<(), SegmentationError> {
        let invalid = |label: &u16| usize::from(*label) >= classes && !(ignored && *label == IGNORED);
        match self.labels.iter().position(invalid) {
            None => Ok(()),
            Some(index) => {
                let (row, column) = (index / self.size[1], index % self.size[1]);
                Err(SegmentationError::Label { what, label: self.labels[index], row, column, classes })
            }
        }
    }
}
