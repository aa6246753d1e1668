//! First and second moments of two sets of paired rows, in f64, a block of rows at a time.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Side, get_global_parallelism};
use sail_support::ranges;

use crate::EvalError;
use crate::unit_rows::UnitRows;

/// Rows of a block.
const ROWS: usize = 2048;

/// Fails unless both sets have a row for every pair, and at least `least` of them.
pub(crate) fn check_pairs(first: &UnitRows, second: &UnitRows, least: usize) -> Result<(), EvalError> {
    if first.len() != second.len() {
        let (found, expected) = (second.len(), first.len());
        return Err(EvalError::Length { what: second.what(), found, expected, of: first.what() });
    }
    if first.len() < least {
        return Err(EvalError::TooFew { what: "pair", found: first.len(), expected: least });
    }
    Ok(())
}

/// A block of rows in f64, one a row.
fn widen(rows: &[f32], dim: usize) -> Mat<f64> {
    let height = rows.len() / dim;
    Mat::from_fn(height, dim, |row, column| f64::from(rows[row * dim + column]))
}

/// `sum of a_i b_i^T`. With an order, row `i` of the first is paired with row `order[i]` of the second.
pub(crate) fn cross(
    first: &UnitRows,
    second: &UnitRows,
    order: Option<&[usize]>,
) -> Result<Mat<f64>, EvalError> {
    let mut sum = Mat::zeros(first.dim(), second.dim());
    for range in ranges(first.len(), ROWS) {
        let a = widen(&first.read(range.clone())?, first.dim());
        let b = match order {
            Some(order) => second.gather(&order[range])?,
            None => second.read(range)?,
        };
        let b = widen(&b, second.dim());
        matmul(&mut sum, Accum::Add, a.transpose(), &b, 1.0, get_global_parallelism());
    }
    Ok(sum)
}

/// `sum of a_i`.
pub(crate) fn sum(rows: &UnitRows) -> Result<Vec<f64>, EvalError> {
    let mut sum = vec![0.0; rows.dim()];
    for range in ranges(rows.len(), ROWS) {
        for row in rows.read(range)?.chunks_exact(rows.dim()) {
            for (sum, &value) in sum.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
    }
    Ok(sum)
}

/// Mean and covariance of one set, the latter with its diagonal raised and factorised.
pub(crate) struct Covariance {
    pub(crate) mean: Vec<f64>,
    /// The factor `L` of `C + r (tr C / d) I = L L^T`.
    factor: Mat<f64>,
}

impl Covariance {
    /// `regularization` is `r`: the ridge in units of the mean variance of a column.
    pub(crate) fn new(rows: &UnitRows, regularization: f64) -> Result<Self, EvalError> {
        let n = rows.len() as f64;
        let mean: Vec<f64> = sum(rows)?.into_iter().map(|sum| sum / n).collect();
        let mut covariance = centred(cross(rows, rows, None)?, n, &mean, &mean);
        let dim = rows.dim();
        let variance = (0..dim).map(|column| covariance[(column, column)]).sum::<f64>() / dim as f64;
        // Unit rows in f32 that are all the same have a variance of rounding, some 1e-15.
        if variance * dim as f64 <= 1e-12 {
            return Err(EvalError::Constant { what: rows.what() });
        }
        for column in 0..dim {
            covariance[(column, column)] += regularization * variance;
        }
        let factor = covariance.llt(Side::Lower).map_err(|_| EvalError::Singular { what: rows.what() })?;
        Ok(Self { mean, factor: factor.L().to_owned() })
    }

    /// `L^-1 m` for every column of `m`.
    pub(crate) fn whiten(&self, mut m: Mat<f64>) -> Mat<f64> {
        self.factor.solve_lower_triangular_in_place(&mut m);
        m
    }

    /// `L^-T m` for every column of `m`.
    pub(crate) fn unwhiten(&self, mut m: Mat<f64>) -> Mat<f64> {
        self.factor.transpose().solve_upper_triangular_in_place(&mut m);
        m
    }
}

/// The covariance `sum / n - mean_a mean_b^T` from a sum of products.
pub(crate) fn centred(mut sum: Mat<f64>, n: f64, first_mean: &[f64], second_mean: &[f64]) -> Mat<f64> {
    for (column, &b) in second_mean.iter().enumerate() {
        for (row, &a) in first_mean.iter().enumerate() {
            sum[(row, column)] = sum[(row, column)] / n - a * b;
        }
    }
    sum
}
