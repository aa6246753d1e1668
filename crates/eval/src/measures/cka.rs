//! Centred kernel alignment.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::chance::{Measured, Permutations};
use super::moments::{check_pairs, cross};
use crate::EvalError;
use crate::groups::group_sums;
use crate::unit_rows::UnitRows;

/// Two estimates of centred kernel alignment with linear kernels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cka {
    /// The usual estimate, in 0 to 1, whose upward bias grows with the number of dimensions per row.
    pub biased: f64,
    /// The estimate from unbiased HSIC, at most 1 and about 0 for unrelated rows, with its chance level.
    pub debiased: Measured,
}

/// Computes the centred kernel alignment of paired rows (Kornblith et al. 2019, arXiv 1905.00414), the similarity of their
/// similarity matrices.
///
/// With unit rows `x_i` and `y_i`, `K = X X^T` and `L = Y Y^T`, it is `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`,
/// where HSIC is `tr(K H L H)`, `H` the centring matrix, in the biased estimate, and in the debiased one the unbiased
/// estimator of Song et al. (2012, equation 5; used for CKA by Nguyen et al. 2021, arXiv 2010.15327).
///
/// The kernels are not materialised: everything is computed from `X^T Y`, `X^T X` and `Y^T Y`, in f64 and in blocks of
/// rows. Memory beyond the features is that of these matrices; time is linear in the number of rows, for every
/// permutation.
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
/// let found = cka(rows, turned, &Permutations::default())?;
/// assert!((found.biased - 1.0).abs() < 1e-6 && (found.debiased.value - 1.0).abs() < 1e-6);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn cka(first: Tensor<2>, second: Tensor<2>, permutations: &Permutations) -> Result<Cka, EvalError> {
    let first = UnitRows::new(first, "first row")?;
    let second = UnitRows::new(second, "second row")?;
    check_pairs(&first, &second, 4)?;
    let sums = [group_sums(&first, 1, |_| 0)?, group_sums(&second, 1, |_| 0)?];
    let own = [
        Products::new(&first, &first, None, &sums[0], &sums[0])?,
        Products::new(&second, &second, None, &sums[1], &sums[1])?,
    ];
    let joint = |order: Option<&[usize]>| Products::new(&first, &second, order, &sums[0], &sums[1]);
    let scale = |hsic: fn(&Products) -> f64, (products, what): (&Products, &'static str)| {
        // Rounding error for rows that are all equal.
        let own = hsic(products);
        if own > 1e-12 { Ok(own) } else { Err(EvalError::Constant { what }) }
    };
    let whats = [first.what(), second.what()];
    let biased_scale =
        scale(Products::biased, (&own[0], whats[0]))? * scale(Products::biased, (&own[1], whats[1]))?;
    let debiased_scale =
        scale(Products::unbiased, (&own[0], whats[0]))? * scale(Products::unbiased, (&own[1], whats[1]))?;
    let paired = joint(None)?;
    let debiased = |products: &Products| products.unbiased() / debiased_scale.sqrt();
    Ok(Cka {
        biased: paired.biased() / biased_scale.sqrt(),
        debiased: permutations
            .test(debiased(&paired), first.len(), |order| Ok(debiased(&joint(Some(order))?)))?,
    })
}

/// The terms of both estimators of HSIC. Rows have unit length, so the diagonals of the kernels are ones.
struct Products {
    n: f64,
    /// `tr(K L) = |X^T Y|^2`.
    trace: f64,
    /// `1^T K 1`.
    first_total: f64,
    /// `1^T L 1`.
    second_total: f64,
    /// `1^T K L 1`.
    joint_total: f64,
}

impl Products {
    fn new(
        first: &UnitRows,
        second: &UnitRows,
        order: Option<&[usize]>,
        first_sum: &[f64],
        second_sum: &[f64],
    ) -> Result<Self, EvalError> {
        let cross = cross(first, second, order)?;
        let joint_total = (0..second_sum.len())
            .map(|column| {
                let inner: f64 = first_sum.iter().enumerate().map(|(row, a)| a * cross[(row, column)]).sum();
                inner * second_sum[column]
            })
            .sum();
        let square = |sum: &[f64]| sum.iter().map(|value| value * value).sum();
        Ok(Self {
            n: first.len() as f64,
            trace: cross.squared_norm_l2(),
            first_total: square(first_sum),
            second_total: square(second_sum),
            joint_total,
        })
    }

    /// `tr(K H L H) / n^2`.
    fn biased(&self) -> f64 {
        let centred = self.trace - 2.0 * self.joint_total / self.n
            + self.first_total * self.second_total / (self.n * self.n);
        centred / (self.n * self.n)
    }

    /// The unbiased estimator, on kernels without their diagonals.
    fn unbiased(&self) -> f64 {
        let n = self.n;
        let (first_total, second_total) = (self.first_total - n, self.second_total - n);
        // (K1 - 1) . (L1 - 1)
        let joint_total = self.joint_total - self.first_total - self.second_total + n;
        let hsic = (self.trace - n) + first_total * second_total / ((n - 1.0) * (n - 2.0))
            - 2.0 * joint_total / (n - 2.0);
        hsic / (n * (n - 3.0))
    }
}
