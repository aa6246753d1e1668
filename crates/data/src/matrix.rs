//! Features in memory.

use std::borrow::Cow;

use sail_core::{FeatureError, FeatureSource, Provenance};

use crate::DataError;
use crate::gather::{Wanted, copy_rows, wanted};

/// A matrix of features in memory. Its rows pair by position unless they [have keys](MatrixFeatures::with_keys).
///
/// # Examples
/// ```
/// use sail_core::FeatureSource;
/// use sail_data::MatrixFeatures;
/// let features = MatrixFeatures::new(2, vec![1.0, 0.0, 0.0, 1.0])?.with_keys(["a", "b"])?;
/// assert_eq!((features.rows(), features.key(1).as_ref()), (2, "b"));
/// # Ok::<(), sail_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MatrixFeatures {
    dim: usize,
    values: Vec<f32>,
    keys: Option<Vec<String>>,
    provenance: Option<Provenance>,
}

impl MatrixFeatures {
    /// Creates features without keys.
    ///
    /// # Shapes
    /// - values: `[rows, dim]`, row-major
    ///
    /// # Errors
    /// [`DataError::MatrixSize`] if the number of values is not a multiple of `dim`, [`DataError::Empty`] without rows.
    pub fn new(dim: usize, values: Vec<f32>) -> Result<Self, DataError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(DataError::MatrixSize { found: values.len(), dim });
        }
        if values.is_empty() {
            return Err(DataError::Empty);
        }
        Ok(Self { dim, values, keys: None, provenance: None })
    }

    /// Copies the rows of an array, of any memory layout.
    ///
    /// # Errors
    /// [`DataError::MatrixSize`] without columns, [`DataError::Empty`] without rows.
    ///
    /// # Examples
    /// ```
    /// use ndarray::array;
    /// use sail_core::FeatureSource;
    /// let columns = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    /// let features = sail_data::MatrixFeatures::from_array(columns.t())?;
    /// assert_eq!((features.rows(), features.dim()), (3, 2));
    /// # Ok::<(), sail_data::DataError>(())
    /// ```
    #[cfg(feature = "ndarray")]
    pub fn from_array(array: ndarray::ArrayView2<'_, f32>) -> Result<Self, DataError> {
        Self::new(array.ncols(), array.iter().copied().collect())
    }

    /// Sets the keys of the rows.
    ///
    /// # Errors
    /// [`DataError::KeyCount`] unless there is one key per row.
    pub fn with_keys(self, keys: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, DataError> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        if keys.len() != self.rows() {
            return Err(DataError::KeyCount { found: keys.len(), expected: self.rows() });
        }
        Ok(Self { keys: Some(keys), ..self })
    }

    /// Sets the provenance.
    #[must_use]
    pub fn with_provenance(self, provenance: Provenance) -> Self {
        Self { provenance: Some(provenance), ..self }
    }

    /// Copies rows to their output slices.
    pub(crate) fn scatter(&self, wanted: &mut [Wanted]) {
        copy_rows(&self.values, self.dim, wanted);
    }
}

impl FeatureSource for MatrixFeatures {
    fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        match &self.keys {
            Some(keys) => keys.get(row).map(String::as_str).unwrap_or_default().into(),
            None => row.to_string().into(),
        }
    }

    fn positional(&self) -> bool {
        self.keys.is_none()
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.provenance.as_ref()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        self.scatter(&mut wanted(self.rows(), self.dim, rows, out)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_in_the_requested_order() {
        let features = MatrixFeatures::new(2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let mut out = [0.0; 6];
        features.gather(&[2, 0, 2], &mut out).unwrap();
        assert_eq!(out, [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
        assert!(features.positional());
    }

    #[test]
    fn parallel_gathers_agree() {
        let dim = 300;
        let rows = 1000;
        let features = MatrixFeatures::new(dim, (0..rows * dim).map(|x| x as f32).collect()).unwrap();
        let order: Vec<usize> = (0..rows).map(|row| row * 7 % rows).collect();
        let mut out = vec![0.0; rows * dim];
        features.gather(&order, &mut out).unwrap();
        for (values, row) in out.chunks_exact(dim).zip(order) {
            assert_eq!(values, &features.values[row * dim..][..dim]);
        }
    }

    #[test]
    fn rejects_invalid_sizes_and_indices() {
        let features = MatrixFeatures::new(2, vec![0.0; 4]).unwrap();
        let out_of_range = features.gather(&[0, 2], &mut [0.0; 4]);
        assert!(matches!(out_of_range, Err(FeatureError::OutOfRange { row: 2, rows: 2 })));
        let size = features.gather(&[0], &mut [0.0; 3]);
        assert!(matches!(size, Err(FeatureError::OutputSize { found: 3, expected: 2 })));
        let keys = features.with_keys(["only one"]);
        assert!(matches!(keys, Err(DataError::KeyCount { found: 1, expected: 2 })));
        assert!(matches!(MatrixFeatures::new(2, vec![0.0; 3]), Err(DataError::MatrixSize { .. })));
        assert!(matches!(MatrixFeatures::new(0, vec![]), Err(DataError::MatrixSize { .. })));
        assert!(matches!(MatrixFeatures::new(2, vec![]), Err(DataError::Empty)));
    }
}
