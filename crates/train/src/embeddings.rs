//! Embeddings of a batch.

use burn::tensor::Tensor;

/// Embeddings of the images and of every caption set, or the gradients with respect to them.
pub(crate) type Embeddings = (Tensor<2>, Vec<Tensor<2>>);
