//! Aligners of two linear maps.

use burn::tensor::{DType, Tensor, TensorData};
use faer::Mat;
use sail_core::l2_normalize;

use crate::EvalError;

/// Two affine maps into a shared space, fitted in closed form: see [`ridge_aligner`](crate::ridge_aligner) and
/// [`cca_aligner`](crate::cca_aligner).
#[derive(Debug, Clone)]
pub struct LinearAligner {
    images: Affine,
    texts: Affine,
}

/// `(x - mean) matrix` for unit rows `x`.
#[derive(Debug, Clone)]
pub(super) struct Affine {
    mean: Vec<f32>,
    /// `[dim, out]`, row-major; `None` for the identity.
    matrix: Option<Vec<f32>>,
}

impl LinearAligner {
    pub(super) fn new(images: Affine, texts: Affine) -> Self {
        Self { images, texts }
    }

    /// Maps image features into the shared space, on the device of the features.
    ///
    /// # Shapes
    /// - images: `[n, image_dim]`, not necessarily normalised
    /// - output: `[n, dim]`, not normalised
    ///
    /// # Errors
    /// [`EvalError::Dimension`] for features of another dimension.
    pub fn project_images(&self, images: Tensor<2>) -> Result<Tensor<2>, EvalError> {
        self.images.apply(images, "image")
    }

    /// Maps text features into the shared space; see [`project_images`](Self::project_images).
    ///
    /// # Errors
    /// [`EvalError::Dimension`] for features of another dimension.
    pub fn project_texts(&self, texts: Tensor<2>) -> Result<Tensor<2>, EvalError> {
        self.texts.apply(texts, "text")
    }
}

impl Affine {
    pub(super) fn new(mean: &[f64], matrix: Option<&Mat<f64>>) -> Self {
        let row_major = |m: &Mat<f64>| {
            (0..m.nrows()).flat_map(|row| (0..m.ncols()).map(move |column| m[(row, column)] as f32)).collect()
        };
        Self { mean: mean.iter().map(|&value| value as f32).collect(), matrix: matrix.map(row_major) }
    }

    fn apply(&self, rows: Tensor<2>, what: &'static str) -> Result<Tensor<2>, EvalError> {
        let dim = self.mean.len();
        let first_dim = rows.dims()[1];
        if first_dim != dim {
            return Err(EvalError::Dimension {
                first: what,
                first_dim,
                second: "fitted row",
                second_dim: dim,
            });
        }
        let device = rows.device();
        let constant = |values: &[f32], shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), (&device, DType::F32))
        };
        let centred = l2_normalize(rows) - constant(&self.mean, [1, dim]);
        Ok(match &self.matrix {
            Some(matrix) => centred.matmul(constant(matrix, [dim, matrix.len() / dim])),
            None => centred,
        })
    }
}
