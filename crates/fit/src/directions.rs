//! Singular directions.

use faer::{Mat, MatRef};

use crate::FitError;

/// Directions whose singular value is a smaller part of the largest are rounding errors of a matrix of lower rank.
const RANK_TOLERANCE: f64 = 1e-9;

/// A singular value decomposition, `U diag(values) V^T`, without the directions of zero singular values.
pub(crate) struct Directions {
    pub(crate) left: Mat<f64>,
    pub(crate) right: Mat<f64>,
    /// In descending order.
    pub(crate) values: Vec<f64>,
}

impl Directions {
    /// Keeps at most `dim` directions.
    pub(crate) fn new(m: MatRef<'_, f64>, dim: Option<usize>) -> Result<Self, FitError> {
        let svd = m
            .thin_svd()
            .map_err(|_| FitError::Decomposition { decomposition: "singular value decomposition" })?;
        let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let largest = values.first().copied().unwrap_or_default();
        if !(largest > 0.0) {
            return Err(FitError::Uncorrelated);
        }
        let rank = values.iter().take_while(|value| **value > RANK_TOLERANCE * largest).count();
        let kept = dim.map_or(rank, |dim| dim.min(rank));
        Ok(Self {
            left: svd.U().subcols(0, kept).to_owned(),
            right: svd.V().subcols(0, kept).to_owned(),
            values: values[..kept].to_vec(),
        })
    }
}
