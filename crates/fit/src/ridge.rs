//! Ridge regression.

use faer::{Mat, MatRef};

use crate::moments::SideMoments;
use crate::spectrum::Spectrum;
use crate::{FitError, Regularization};

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
    let total = predicted.variance();
    let regularization =
        Regularization::or_choose(regularization, || spectrum.cross_validate(&rotated, total, pairs));
    Ok((spectrum.apply(regularization.value, -1.0, &rotated), regularization))
}
