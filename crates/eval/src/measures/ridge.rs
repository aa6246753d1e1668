//! Ridge regression.

use burn::tensor::Tensor;

use super::cca::check_regularization;
use super::linear_aligner::{Affine, LinearAligner};
use super::moments::{Covariance, centred, check_pairs, cross, mean};
use crate::EvalError;
use crate::unit_rows::UnitRows;

/// Fits ridge regression from image features to text features in closed form.
///
/// For unit rows `x` and `y` with means `m`, an image is mapped to `(x - mx) (Cx + r (tr Cx / d) I)^-1 Cxy` and a text to
/// `y - my`.
///
/// # Shapes
/// - images: `[n, image_dim]`
/// - texts: `[n, text_dim]`, row `i` paired with row `i` of the images
///
/// # Errors
/// [`EvalError`] for sets of different lengths, fewer than 2 rows, a negative `regularization`, images that are all equal
/// or have a singular covariance (increase the regularisation), features that are not finite or all zeros, and if the
/// device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// let images = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0]], &Device::flex());
/// let texts = images.clone().flip([1]);
/// let aligner = sail_eval::ridge_aligner(images.clone(), texts, 1e-3)?;
/// assert_eq!(aligner.project_images(images)?.dims(), [4, 2]);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn ridge_aligner(
    images: Tensor<2>,
    texts: Tensor<2>,
    regularization: f64,
) -> Result<LinearAligner, EvalError> {
    check_regularization(regularization)?;
    let images = UnitRows::new(images, "image")?;
    let texts = UnitRows::new(texts, "text")?;
    check_pairs(&images, &texts, 2)?;
    let n = images.len() as f64;
    let covariance = Covariance::new(&images, regularization)?;
    let text_mean = mean(&texts)?;
    let cross = centred(cross(&images, &texts)?, n, &covariance.mean, &text_mean);
    let map = covariance.unwhiten(covariance.whiten(cross));
    Ok(LinearAligner::new(Affine::new(&covariance.mean, Some(&map)), Affine::new(&text_mean, None)))
}
