//! A class for every pixel.

use super::SegmentationError;

/// The label of pixels that are left out of every score, such as object borders and unlabelled regions.
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
    /// A map of `size` rows and columns.
    ///
    /// # Shapes
    /// - labels: rows times columns
    ///
    /// # Errors
    /// [`SegmentationError::Length`] for another number of labels.
    pub fn new(size: [usize; 2], labels: Vec<u16>) -> Result<Self, SegmentationError> {
        let [height, width] = size;
        let (found, expected) = (labels.len(), height.saturating_mul(width));
        if found != expected {
            return Err(SegmentationError::Length { height, width, found, expected });
        }
        Ok(Self { size, labels })
    }

    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The labels, row by row.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Checks that every label is a class or, where `ignored` says so, [`IGNORED`].
    ///
    /// # Errors
    /// [`SegmentationError::Label`] for the first that is not; `what` names the map in it.
    pub fn check(&self, classes: usize, ignored: bool, what: &'static str) -> Result<(), SegmentationError> {
        let wrong = |label: &u16| usize::from(*label) >= classes && !(ignored && *label == IGNORED);
        match self.labels.iter().position(wrong) {
            None => Ok(()),
            Some(place) => {
                let (row, column) = (place / self.size[1], place % self.size[1]);
                Err(SegmentationError::Label { what, label: self.labels[place], row, column, classes })
            }
        }
    }
}
