//! Ridge regression.

use faer::{Mat, MatRef};

use crate::FitError;
use crate::fit::Regularization;
use crate::moments::SideMoments;
use crate::spectrum::Spectrum;

/// The map of the predictor, `C^-1` times the cross-covariance, `[predictor dim, predicted dim]`.
pub(crate) fn ridge(
    predictor: &SideMoments,
    predicted: &SideMoments,
    cross: MatRef<'_, f64>,
    pairs: usize,
    regularization: Option<f64>,
) -> Result<(Mat<f64>, Regularization), FitError> {
    let spectrum = Spectrum::new(predictor)?;
    let rotated = spectrum.rotate(cross);
    if rotated.norm_max() == 0.0 {
        return Err(FitError::Uncorrelated);
    }
    let total = predicted.covariance.diagonal().column_vector().iter().sum();
    let regularization =
        Regularization::or_choose(regularization, || spectrum.cross_validate(&rotated, total, pairs));
    Ok((spectrum.apply(regularization.value, -1.0, &rotated), regularization))
}
