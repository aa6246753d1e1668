//! Embeddings, read in blocks, validated and normalised.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData, TensorReadError};
use rayon::prelude::*;

pub(crate) use sail_support::dot;

use crate::EvalError;

/// Values per block of a transposition: those of a cache line.
const LINE: usize = 16;

/// A matrix of embeddings whose rows are normalised when they are read.
///
/// So the matrix is not copied. The norm is computed in f64, which neither overflows nor underflows for finite rows.
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

    /// The name of a row in errors.
    #[cfg(feature = "measures")]
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

    /// Reads consecutive rows, row-major.
    pub(crate) fn read(&self, rows: Range<usize>) -> Result<Vec<f32>, EvalError> {
        let start = rows.start;
        let block = self.embeddings.clone().slice([rows, 0..self.dim()]);
        self.unit(block, |index| start + index)
    }

    /// Reads rows by index, row-major.
    pub(crate) fn gather(&self, rows: &[usize]) -> Result<Vec<f32>, EvalError> {
        let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let indices = TensorData::new(indices, [rows.len()]);
        let indices = Tensor::<1, Int>::from_data(indices, &self.device());
        self.unit(self.embeddings.clone().select(0, indices), |index| rows[index])
    }

    /// Creates a tensor of rows on the device, in f32.
    pub(crate) fn upload(&self, rows: Vec<f32>) -> Tensor<2> {
        let shape = [rows.len() / self.dim(), self.dim()];
        Tensor::from_data(TensorData::new(rows, shape), (&self.device(), DType::F32))
    }

    /// Creates the transposed tensor of rows on the device, contiguous.
    ///
    /// A matrix product packs its operands. An operand of several products is packed here, once.
    pub(crate) fn upload_transposed(&self, rows: &[f32]) -> Tensor<2> {
        let (dim, count) = (self.dim(), rows.len() / self.dim());
        let mut columns = vec![0.0; rows.len()];
        columns.par_chunks_mut(count * LINE).enumerate().for_each(|(band, columns)| {
            for first in (0..count).step_by(LINE) {
                for (offset, column) in columns.chunks_exact_mut(count).enumerate() {
                    let component = band * LINE + offset;
                    let values = column[first..count.min(first + LINE)].iter_mut().enumerate();
                    values.for_each(|(row, value)| *value = rows[(first + row) * dim + component]);
                }
            }
        });
        Tensor::from_data(TensorData::new(columns, [dim, count]), (&self.device(), DType::F32))
    }

    fn unit(&self, block: Tensor<2>, row: impl Fn(usize) -> usize + Sync) -> Result<Vec<f32>, EvalError> {
        let mut values = block.try_into_vec_as::<f32>()?;
        let what = self.what;
        let invalid =
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
        invalid.map_or(Ok(values), Err)
    }
}

/// Fails if the dimensions differ.
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

/// The scores of two blocks, row-major, without a copy of the data read from the device.
pub(crate) struct Scores(TensorData);

/// Computes the scores of two uploaded blocks.
pub(crate) fn product(rows: &Tensor<2>, columns: &Tensor<2>) -> Result<Scores, EvalError> {
    product_transposed(rows, &columns.clone().transpose())
}

/// Computes the scores of an uploaded block and a block that was uploaded transposed.
pub(crate) fn product_transposed(rows: &Tensor<2>, columns: &Tensor<2>) -> Result<Scores, EvalError> {
    let scores = rows.clone().matmul(columns.clone());
    Ok(Scores(scores.try_into_data_as::<f32>()?))
}

impl Scores {
    pub(crate) fn values(&mut self) -> Result<&mut [f32], EvalError> {
        Ok(self.0.as_mut_slice().map_err(TensorReadError::from)?)
    }
}
