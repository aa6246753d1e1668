//! Embeddings, read a block at a time, checked, and scaled to unit length.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData, TensorReadError};
use rayon::prelude::*;

use crate::EvalError;

/// Numbers that are transposed together: as many as a line of a cache holds.
const LINE: usize = 16;

/// A matrix of embeddings whose rows come out with unit length.
///
/// Rows are scaled on the way out, so that no second copy of the whole matrix is made, and in f64, so that no
/// finite row is too long or too short.
pub(crate) struct UnitRows {
    embeddings: Tensor<2>,
    what: &'static str,
}

impl UnitRows {
    /// `what` names a row in errors.
    pub(crate) fn new(embeddings: Tensor<2>, what: &'static str) -> Result<Self, EvalError> {
        let [rows, dim] = embeddings.dims();
        if rows == 0 || dim == 0 {
            return Err(EvalError::Empty { what });
        }
        let embeddings = embeddings.without_autodiff();
        Ok(Self { embeddings, what })
    }

    /// What a row is called.
    pub(crate) fn what(&self) -> &'static str {
        self.what
    }

    pub(crate) fn len(&self) -> usize {
        self.embeddings.dims()[0]
    }

    pub(crate) fn dim(&self) -> usize {
        self.embeddings.dims()[1]
    }

    pub(crate) fn device(&self) -> Device {
        self.embeddings.device()
    }

    /// Consecutive rows, row-major.
    pub(crate) fn read(&self, rows: Range<usize>) -> Result<Vec<f32>, EvalError> {
        let start = rows.start;
        let block = self.embeddings.clone().slice([rows, 0..self.dim()]);
        self.unit(block, |index| start + index)
    }

    /// Any rows in any order, row-major.
    pub(crate) fn gather(&self, rows: &[usize]) -> Result<Vec<f32>, EvalError> {
        let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let indices = TensorData::new(indices, [rows.len()]);
        let indices = Tensor::<1, Int>::from_data(indices, &self.device());
        self.unit(self.embeddings.clone().select(0, indices), |index| rows[index])
    }

    /// Rows that were read, back on the device, always in f32.
    pub(crate) fn upload(&self, rows: Vec<f32>) -> Tensor<2> {
        let shape = [rows.len() / self.dim(), self.dim()];
        Tensor::from_data(TensorData::new(rows, shape), (&self.device(), DType::F32))
    }

    /// Rows that were read, as the columns of a matrix in row-major order.
    ///
    /// A matrix product puts its operands in order first. Where one meets several others, it is put in order here, once.
    pub(crate) fn upload_transposed(&self, rows: &[f32]) -> Tensor<2> {
        let (dim, count) = (self.dim(), rows.len() / self.dim());
        let mut columns = vec![0.0; rows.len()];
        columns.par_chunks_mut(count * LINE).enumerate().for_each(|(band, columns)| {
            for first in (0..count).step_by(LINE) {
                for (offset, column) in columns.chunks_exact_mut(count).enumerate() {
                    let component = band * LINE + offset;
                    let places = column[first..count.min(first + LINE)].iter_mut().enumerate();
                    places.for_each(|(row, place)| *place = rows[(first + row) * dim + component]);
                }
            }
        });
        Tensor::from_data(TensorData::new(columns, [dim, count]), (&self.device(), DType::F32))
    }

    fn unit(&self, block: Tensor<2>, row: impl Fn(usize) -> usize + Sync) -> Result<Vec<f32>, EvalError> {
        let mut values = block.try_into_vec_as::<f32>()?;
        let what = self.what;
        let unusable =
            values.par_chunks_exact_mut(self.dim()).enumerate().find_map_first(|(index, values)| {
                let norm = dot(values, values).sqrt();
                if norm.is_finite() && norm > 0.0 {
                    let scale = 1.0 / norm;
                    for value in values {
                        *value = (f64::from(*value) * scale) as f32;
                    }
                    return None;
                }
                let row = row(index);
                let column = values.iter().position(|value| !value.is_finite());
                Some(match column {
                    Some(column) => EvalError::NotFinite { what, row, column, value: values[column] },
                    None => EvalError::ZeroNorm { what, row },
                })
            });
        unusable.map_or(Ok(values), Err)
    }
}

/// Fails unless the rows of both have one size.
pub(crate) fn same_dim(first: &UnitRows, second: &UnitRows) -> Result<(), EvalError> {
    if first.dim() == second.dim() {
        return Ok(());
    }
    Err(EvalError::Dimension {
        first: first.what,
        first_dim: first.dim(),
        second: second.what,
        second_dim: second.dim(),
    })
}

/// All scores of two uploaded blocks, row-major, where the device left them: a copy would cost as much as a good part of
/// the product.
pub(crate) struct Scores(TensorData);

/// Multiplies two uploaded blocks.
pub(crate) fn product(rows: &Tensor<2>, columns: &Tensor<2>) -> Result<Scores, EvalError> {
    product_transposed(rows, &columns.clone().transpose())
}

/// Multiplies an uploaded block and one that was uploaded transposed.
pub(crate) fn product_transposed(rows: &Tensor<2>, columns: &Tensor<2>) -> Result<Scores, EvalError> {
    let scores = rows.clone().matmul(columns.clone());
    Ok(Scores(scores.try_into_data_as::<f32>()?))
}

impl Scores {
    pub(crate) fn values(&mut self) -> Result<&mut [f32], EvalError> {
        Ok(self.0.as_mut_slice().map_err(TensorReadError::from)?)
    }
}

/// The dot product in f64. Products of two f32 are exact there.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    // Eight sums instead of one, because a compiler may not reorder a single floating-point sum to vectorise it.
    let mut sums = [0.0f64; 8];
    let (a_lanes, a_rest) = a.as_chunks::<8>();
    let (b_lanes, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..8 {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    sums.iter().sum::<f64>() + rest
}
