//! Some rows of a source as a source.

use std::borrow::Cow;
use std::sync::Arc;

use sail_core::{FeatureError, FeatureSource, Provenance};

/// Some rows of another source, in a given order.
///
/// Rows of a source without keys keep their numbers as keys, so they pair by key.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_core::FeatureSource;
/// use sail_data::{MatrixFeatures, SelectedFeatures};
/// let all = MatrixFeatures::new(1, vec![1.0, 2.0, 3.0])?.with_keys(["a", "b", "c"])?;
/// let some = SelectedFeatures::new(Arc::new(all), vec![2, 0])?;
/// let mut row = [0.0];
/// some.gather(&[0], &mut row)?;
/// assert_eq!((some.rows(), some.key(1).as_ref(), row), (2, "a", [3.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SelectedFeatures {
    source: Arc<dyn FeatureSource>,
    rows: Vec<usize>,
}

impl SelectedFeatures {
    /// Selects rows.
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`].
    pub fn new(source: Arc<dyn FeatureSource>, rows: Vec<usize>) -> Result<Self, FeatureError> {
        match rows.iter().find(|&&row| row >= source.rows()) {
            Some(&row) => Err(FeatureError::OutOfRange { row, rows: source.rows() }),
            None => Ok(Self { source, rows }),
        }
    }

    fn source_rows(&self, rows: &[usize]) -> Result<Vec<usize>, FeatureError> {
        let find = |&row: &usize| {
            let error = FeatureError::OutOfRange { row, rows: self.rows.len() };
            self.rows.get(row).copied().ok_or(error)
        };
        rows.iter().map(find).collect()
    }
}

impl FeatureSource for SelectedFeatures {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn dim(&self) -> usize {
        self.source.dim()
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        self.rows.get(row).map_or(Cow::Borrowed(""), |&row| self.source.key(row))
    }

    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, FeatureError> {
        self.source.keys(&self.source_rows(rows)?)
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.source.provenance()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        self.source.gather(&self.source_rows(rows)?, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    #[test]
    fn rows_out_of_range_are_errors() {
        let all: Arc<dyn FeatureSource> = Arc::new(MatrixFeatures::new(1, vec![1.0, 2.0]).unwrap());
        assert!(SelectedFeatures::new(all.clone(), vec![0, 2]).is_err());
        let some = SelectedFeatures::new(all, vec![1]).unwrap();
        let gathered = some.gather(&[1], &mut [0.0]);
        assert!(matches!(gathered, Err(FeatureError::OutOfRange { row: 1, rows: 1 })));
        assert_eq!(some.keys(&[0]).unwrap(), ["1"]);
        assert!(some.keys(&[1]).is_err() && some.key(1).is_empty() && !some.positional());
    }
}
