//! First and second moments of paired rows, in f64 and in blocks.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Side, get_global_parallelism};
use sail_support::ranges;

use crate::EvalError;
use crate::groups::group_sums;
use crate::unit_rows::{UnitRows, dot};

/// Rows per block.
const ROWS: usize = 2048;
/// Limit of the variance of equal unit rows, which is rounding error, about 1e-15.
const ROUNDING: f64 = 1e-12;

/// Fails unless both sets have the same number of rows, at least `min`.
pub(crate) fn check_pairs(first: &UnitRows, second: &UnitRows, min: usize) -> Result<(), EvalError> {
    if first.len() != second.len() {
        let (found, expected) = (second.len(), first.len());
        return Err(EvalError::Length { what: second.what(), found, expected, of: first.what() });
    }
    if first.len() < min {
        return Err(EvalError::TooFew { what: "pair", found: first.len(), expected: min });
    }
    Ok(())
}

/// A block of rows in f64.
fn widen(rows: &[f32], dim: usize) -> Mat<f64> {
    let height = rows.len() / dim;
    Mat::from_fn(height, dim, |row, column| f64::from(rows[row * dim + column]))
}

/// `sum_i a_i b_i^T`.
pub(crate) fn cross(first: &UnitRows, second: &UnitRows) -> Result<Mat<f64>, EvalError> {
    let mut sum = Mat::zeros(first.dim(), second.dim());
    for range in ranges(first.len(), ROWS) {
        let a = widen(&first.read(range.clone())?, first.dim());
        let b = widen(&second.read(range)?, second.dim());
        matmul(&mut sum, Accum::Add, a.transpose(), &b, 1.0, get_global_parallelism());
    }
    Ok(sum)
}

/// The mean row.
pub(crate) fn mean(rows: &UnitRows) -> Result<Vec<f64>, EvalError> {
    let n = rows.len() as f64;
    Ok(group_sums(rows, 1, |_| 0)?.into_iter().map(|sum| sum / n).collect())
}

/// Fails if all rows have the same direction.
pub(crate) fn check_varied(rows: &UnitRows) -> Result<(), EvalError> {
    let (n, mut squares, mut sum) = (rows.len() as f64, 0.0, vec![0.0; rows.dim()]);
    for range in ranges(rows.len(), ROWS) {
        for row in rows.read(range)?.chunks_exact(rows.dim()) {
            squares += dot(row, row);
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }
    let variance = (squares - sum.iter().map(|sum| sum * sum).sum::<f64>() / n) / n;
    if variance <= ROUNDING { Err(EvalError::Constant { what: rows.what() }) } else { Ok(()) }
}

/// Factorised, regularised covariance of one set.
pub(crate) struct Covariance {
    /// The factor `L` of `C + r (tr C / d) I = L L^T`.
    factor: Mat<f64>,
}

impl Covariance {
    /// `regularization` is `r`, relative to the mean variance of a column.
    pub(crate) fn new(rows: &UnitRows, regularization: f64) -> Result<Self, EvalError> {
        let n = rows.len() as f64;
        let mean = mean(rows)?;
        let mut covariance = centred(cross(rows, rows)?, n, &mean, &mean);
        let dim = rows.dim();
        let variance = (0..dim).map(|column| covariance[(column, column)]).sum::<f64>() / dim as f64;
        if variance * dim as f64 <= ROUNDING {
            return Err(EvalError::Constant { what: rows.what() });
        }
        for column in 0..dim {
            covariance[(column, column)] += regularization * variance;
        }
        let factor = covariance.llt(Side::Lower).map_err(|_| EvalError::Singular { what: rows.what() })?;
        Ok(Self { factor: factor.L().to_owned() })
    }

    /// `L^-1 m` for every column of `m`.
    pub(crate) fn whiten(&self, mut m: Mat<f64>) -> Mat<f64> {
        self.factor.solve_lower_triangular_in_place(&mut m);
        m
    }
}

/// The covariance `sum / n - mean_a mean_b^T` from the sum of outer products.
pub(crate) fn centred(mut sum: Mat<f64>, n: f64, first_mean: &[f64], second_mean: &[f64]) -> Mat<f64> {
    for (column, &b) in second_mean.iter().enumerate() {
        for (row, &a) in first_mean.iter().enumerate() {
            sum[(row, column)] = sum[(row, column)] / n - a * b;
        }
    }
    sum
}
