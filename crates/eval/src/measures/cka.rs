//! Centred kernel alignment.

use burn::tensor::Tensor;
use faer::Mat;
use serde::{Deserialize, Serialize};

use super::calibration::{Calibrated, Measured};
use super::centred::CentredRows;
use super::moments::check_pairs;
use super::permutations::Permutations;
use crate::EvalError;
use crate::unit_rows::UnitRows;

/// Two estimates of centred kernel alignment with linear kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cka<M = Measured> {
    /// The usual estimate, in 0 to 1, whose upward bias grows with the number of dimensions per row.
    pub biased: f64,
    /// The estimate from unbiased HSIC, at most 1 and about 0 for unrelated rows.
    pub debiased: M,
}

impl Cka {
    /// Calibrates the debiased estimate at the significance level `alpha`.
    ///
    /// # Errors
    /// Those of [`Measured::calibrate`].
    pub fn calibrate(&self, alpha: f64) -> Result<Cka<Calibrated>, EvalError> {
        Ok(Cka { biased: self.biased, debiased: self.debiased.calibrate(alpha, 1.0)? })
    }
}

/// Computes the centred kernel alignment of paired rows (Kornblith et al. 2019, arXiv 1905.00414), the similarity of their
/// similarity matrices.
///
/// With unit rows `x_i` and `y_i`, `K = X X^T` and `L = Y Y^T`, it is `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`,
/// where HSIC is `tr(K H L H)`, `H` the centring matrix, in the biased estimate, and in the debiased one the unbiased
/// estimator of Song et al. (2012, equation 5; used for CKA by Nguyen et al. 2021, arXiv 2010.15327).
///
/// The kernels are not materialised: everything is computed from `X^T Y`, `X^T X` and `Y^T Y` of centred rows, which changes
/// neither estimate. Blocks of rows are multiplied in f32 on the device of the features and summed in f64. Memory beyond the
/// features is a centred copy of them and these matrices; time is linear in the number of rows, for every permutation.
///
/// # Shapes
/// - first: `[n, first_dim]`
/// - second: `[n, second_dim]`, row `i` paired with row `i` of the first
///
/// # Errors
/// [`EvalError`] for sets of different lengths, fewer than 4 rows, rows that are all equal, features that are not finite
/// or all zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{Permutations, cka};
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0], [1.0, 1.0]], &Device::flex());
/// let turned = rows.clone().flip([1]); // a rotation and a reflection change no similarity
/// let found = cka(rows, turned, &Permutations::NONE)?;
/// assert!((found.biased - 1.0).abs() < 1e-6 && (found.debiased.value - 1.0).abs() < 1e-6);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn cka(first: Tensor<2>, second: Tensor<2>, permutations: &Permutations) -> Result<Cka, EvalError> {
    let first = UnitRows::new(first, "first row")?;
    let second = UnitRows::new(second, "second row")?;
    check_pairs(&first, &second, 4)?;
    let whats = [first.what(), second.what()];
    let [first, second] = [CentredRows::new(&first)?, CentredRows::new(&second)?];
    let terms = CkaTerms::new([&first, &second], whats)?;
    let [biased, debiased] = terms.of(&first.cross(&second, None)?, None);
    let permuted = |order: &[usize]| Ok(terms.of(&first.cross(&second, Some(order))?, Some(order))[1]);
    Ok(Cka { biased, debiased: permutations.test(debiased, first.squares.len(), permuted)? })
}

/// What CKA needs beside the products of the pairs.
pub(super) struct CkaTerms<'a> {
    squares: [&'a [f64]; 2],
    /// `sqrt(HSIC(K, K) HSIC(L, L))`, biased and debiased.
    scales: [f64; 2],
}

impl<'a> CkaTerms<'a> {
    /// `whats` name a row of each side in errors.
    pub(super) fn new(sides: [&'a CentredRows; 2], whats: [&'static str; 2]) -> Result<Self, EvalError> {
        let mut scales = [1.0f64; 2];
        for (side, what) in sides.into_iter().zip(whats) {
            let found = hsic(&side.cross(side, None)?, [&side.squares, &side.squares], None);
            for (scale, hsic) in scales.iter_mut().zip(found) {
                // Rounding error for rows that are all equal.
                if hsic <= 1e-12 {
                    return Err(EvalError::Constant { what });
                }
                *scale *= hsic.sqrt();
            }
        }
        Ok(Self { squares: sides.map(|side| side.squares.as_slice()), scales })
    }

    /// The biased and the debiased estimate from `X^T Y`, with row `i` of the first set paired with row `order[i]` of the
    /// second.
    pub(super) fn of(&self, cross: &Mat<f64>, order: Option<&[usize]>) -> [f64; 2] {
        let [biased, debiased] = hsic(cross, self.squares, order);
        [biased / self.scales[0], debiased / self.scales[1]]
    }
}

/// Both estimates of HSIC of centred rows. Neither changes by centring: the rows of `H K H` add up to zero, and the unbiased
/// estimator is invariant to what is added to whole rows and columns of a kernel.
fn hsic(cross: &Mat<f64>, [first, second]: [&[f64]; 2], order: Option<&[usize]>) -> [f64; 2] {
    let n = first.len() as f64;
    let trace = cross.squared_norm_l2();
    // The diagonals of the kernels, which the unbiased estimator leaves out. So the rows of the kernels add up to minus these.
    let diagonal: f64 = match order {
        Some(order) => first.iter().zip(order).map(|(a, &row)| a * second[row]).sum(),
        None => first.iter().zip(second).map(|(a, b)| a * b).sum(),
    };
    let totals = first.iter().sum::<f64>() * second.iter().sum::<f64>();
    let unbiased = trace - diagonal + totals / ((n - 1.0) * (n - 2.0)) - 2.0 * diagonal / (n - 2.0);
    [trace / (n * n), unbiased / (n * (n - 3.0))]
}
