//! L2 normalization.

use burn::tensor::Tensor;

/// Normalizes every row to unit L2 norm: `x / max(|x|, 1e-12)`, as PyTorch's `normalize`.
///
/// # Shapes
/// - x: `[rows, dim]`
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<2>::from_floats([[3.0, 4.0], [0.0, 0.0]], &Device::flex());
/// let unit = sail_core::l2_normalize(x).into_data().try_to_vec::<f32>()?;
/// assert_eq!(unit, [0.6, 0.8, 0.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn l2_normalize(x: Tensor<2>) -> Tensor<2> {
    // Clamp before the square root, whose derivative at zero is infinite.
    let norm = (x.clone() * x.clone()).sum_dim(1).clamp_min(1e-24).sqrt();
    x / norm
}
