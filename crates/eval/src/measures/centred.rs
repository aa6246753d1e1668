//! Centred unit rows, and the sums of their outer products for permuted pairs.

use burn::tensor::{DType, Int, Tensor, TensorData};
use faer::{Mat, MatRef};
use rayon::prelude::*;
use sail_support::ranges;

use super::moments::mean;
use crate::EvalError;
use crate::unit_rows::{UnitRows, dot, product_transposed};

/// Rows per product: enough that reading the result from the device is cheap beside it.
const ROWS: usize = 2048;

/// A centred copy of unit rows on their device.
///
/// A permutation test computes hundreds of products of the same rows, so they are normalised and centred once. Products of
/// blocks are in f32 and summed in f64. Centring first keeps them precise for features whose cosines are all close to 1.
pub(super) struct CentredRows {
    rows: Tensor<2>,
    /// The squared norm of each row.
    pub(super) squares: Vec<f64>,
}

impl CentredRows {
    pub(super) fn new(rows: &UnitRows) -> Result<Self, EvalError> {
        let (n, dim) = (rows.len(), rows.dim());
        let mean = mean(rows)?;
        let mut values = Vec::with_capacity(n * dim);
        for range in ranges(n, ROWS) {
            let block = rows.read(range)?;
            let centred = block.into_par_iter().enumerate();
            values.par_extend(centred.map(|(index, value)| (f64::from(value) - mean[index % dim]) as f32));
        }
        let squares = values.par_chunks_exact(dim).map(|row| dot(row, row)).collect();
        Ok(Self { rows: rows.upload(values), squares })
    }

    /// `sum_i a_i b_i^T`. With an order, row `i` of the first set is paired with row `order[i]` of the second.
    pub(super) fn cross(&self, second: &Self, order: Option<&[usize]>) -> Result<Mat<f64>, EvalError> {
        let ([n, rows], [_, columns]) = (self.rows.dims(), second.rows.dims());
        let mut sum = vec![0.0f64; rows * columns];
        for range in ranges(n, ROWS) {
            let block = |rows: &Tensor<2>| rows.clone().slice([range.clone()]);
            let b = match order {
                Some(order) => {
                    let indices: Vec<i64> = order[range.clone()].iter().map(|&row| row as i64).collect();
                    let indices = TensorData::new(indices, [range.len()]);
                    let indices = Tensor::<1, Int>::from_data(indices, (&self.rows.device(), DType::I64));
                    second.rows.clone().select(0, indices)
                }
                None => block(&second.rows),
            };
            // Its row-major values are those of the column-major sum.
            let mut product = product_transposed(&b.transpose(), &block(&self.rows))?;
            let product = product.values()?;
            sum.par_iter_mut().zip(&*product).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        Ok(MatRef::from_column_major_slice(&sum, rows, columns).to_owned())
    }
}
