//! Eigendecompositions of covariances, and the choice of their regularization.

use faer::{Mat, MatRef, Side as Triangle};

use crate::FitError;
use crate::moments::SideMoments;

/// Smallest variance, relative to the mean square of LayerNorm's rows, of rows that are not all equal.
const ROUNDING: f64 = 1e-12;

/// The eigendecomposition of a covariance, `C = Q diag(s) Q^T`.
pub(crate) struct Spectrum {
    /// Eigenvalues, at least 0.
    values: Vec<f64>,
    vectors: Mat<f64>,
    /// `tr C / d`.
    mean_variance: f64,
}

impl Spectrum {
    pub(crate) fn new(moments: &SideMoments) -> Result<Self, FitError> {
        let SideMoments { side, covariance, .. } = moments;
        let eigen = covariance
            .self_adjoint_eigen(Triangle::Lower)
            .map_err(|_| FitError::Decomposition { decomposition: "eigendecomposition of a covariance" })?;
        let values: Vec<f64> = eigen.S().column_vector().iter().map(|value| value.max(0.0)).collect();
        let mean_variance = values.iter().sum::<f64>() / values.len() as f64;
        if mean_variance <= ROUNDING {
            return Err(FitError::Constant { side: *side });
        }
        Ok(Self { values, vectors: eigen.U().to_owned(), mean_variance })
    }

    /// `Q^T m`.
    pub(crate) fn rotate(&self, m: MatRef<'_, f64>) -> Mat<f64> {
        self.vectors.transpose() * m
    }

    /// `Q (diag(s) + r (tr C / d) I)^power m`: a power of the regularized covariance, of rotated columns.
    pub(crate) fn apply(&self, regularization: f64, power: f64, rotated: &Mat<f64>) -> Mat<f64> {
        &self.vectors * self.scale(regularization, power, rotated)
    }

    /// `(diag(s) + r (tr C / d) I)^power m`.
    pub(crate) fn scale(&self, regularization: f64, power: f64, rotated: &Mat<f64>) -> Mat<f64> {
        let ridge = regularization * self.mean_variance;
        let factors: Vec<f64> = self.values.iter().map(|value| (value + ridge).powf(power)).collect();
        Mat::from_fn(rotated.nrows(), rotated.ncols(), |row, column| factors[row] * rotated[(row, column)])
    }

    /// Chooses `r` for the regression of the other side on this one by generalized cross-validation: the minimum of
    /// `(RSS / n) / (1 - df / n)^2` over four values per decade from 1e-6 to 1e6. `rotated` is `Q^T` times the
    /// cross-covariance, `total` the trace of the covariance of the other side. The intercept counts as a degree of freedom.
    pub(crate) fn cross_validate(&self, rotated: &Mat<f64>, total: f64, pairs: usize) -> f64 {
        let n = pairs as f64;
        let explained: Vec<f64> = rotated.row_iter().map(|row| row.squared_norm_l2()).collect();
        let error = |regularization: f64| {
            let ridge = regularization * self.mean_variance;
            let (mut freedom, mut residual) = (1.0, total);
            for (value, square) in self.values.iter().zip(&explained) {
                freedom += value / (value + ridge);
                residual -= square * (value + 2.0 * ridge) / (value + ridge).powi(2);
            }
            // Both may be rounding errors where the pairs are interpolated.
            let rest = 1.0 - freedom / n;
            if rest > 1e-9 { residual.max(0.0) / (rest * rest) } else { f64::INFINITY }
        };
        let candidates = (-24..=24).map(|step| 10f64.powf(f64::from(step) / 4.0));
        // Of equal errors, the largest value.
        candidates.rev().map(|r| (error(r), r)).min_by(|a, b| a.0.total_cmp(&b.0)).map_or(1.0, |(_, r)| r)
    }
}
