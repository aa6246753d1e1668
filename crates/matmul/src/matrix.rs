//! Views of matrices.

use std::ops::Range;

/// A view of an f32 matrix with arbitrary strides.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

/// Shapes that do not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatmulError {
    /// A slice is too short for the shape and the strides.
    #[error("the slice has {found} values, expected {expected}")]
    Length {
        /// Length of the slice.
        found: usize,
        /// Length that the shape and the strides need.
        expected: usize,
    },
    /// The matrices cannot be multiplied.
    #[error("cannot multiply matrices of shape {lhs:?} and {rhs:?}: expected as many columns as rows")]
    Shape {
        /// Shape of the left matrix.
        lhs: [usize; 2],
        /// Shape of the right matrix.
        rhs: [usize; 2],
    },
}

impl<'a> Matrix<'a> {
    /// Creates a view of row-major values.
    ///
    /// # Errors
    /// Returns [`MatmulError::Length`] if the slice is too short for the shape.
    pub fn new(values: &'a [f32], shape: [usize; 2]) -> Result<Self, MatmulError> {
        Self::with_strides(values, shape, [shape[1], 1])
    }

    /// Creates a view with strides: element `[row, column]` is `values[row * strides[0] + column * strides[1]]`.
    ///
    /// # Errors
    /// Returns [`MatmulError::Length`] if the slice is too short for the shape and the strides.
    pub fn with_strides(
        values: &'a [f32],
        shape: [usize; 2],
        strides: [usize; 2],
    ) -> Result<Self, MatmulError> {
        let last = |axis: usize| Some(shape[axis].checked_sub(1)?.saturating_mul(strides[axis]));
        let expected = match (last(0), last(1)) {
            (Some(row), Some(column)) => row.saturating_add(column).saturating_add(1),
            _ => 0,
        };
        match values.len() {
            found if found < expected => Err(MatmulError::Length { found, expected }),
            _ => Ok(Self { values, shape, strides }),
        }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn transpose(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { values: self.values, shape: [columns, rows], strides: [column, row] }
    }

    /// Number of rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Distance between rows and between columns.
    pub(crate) fn strides(&self) -> [usize; 2] {
        self.strides
    }

    /// A part of a row, of a matrix whose columns are adjacent.
    pub(crate) fn row(&self, row: usize, columns: Range<usize>) -> &'a [f32] {
        debug_assert_eq!(self.strides[1], 1);
        let start = row * self.strides[0];
        &self.values[start + columns.start..start + columns.end]
    }

    /// An element.
    pub(crate) fn get(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.strides[0] + column * self.strides[1]]
    }
}
