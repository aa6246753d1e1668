//! Embeddings of a batch.

use burn::tensor::Tensor;

/// Embeddings of the images and of every caption set, or the gradients with respect to them.
pub(crate) type Embeddings = (Tensor<2>, Vec<Tensor<2>>);

/// Returns `sum(embeddings * gradients)`. Its gradient with respect to `embeddings` is `gradients`, so its backward
/// pass is the vector-Jacobian product (VJP) of the head, however the loss computed its gradients.
pub(crate) fn surrogate(embeddings: Tensor<2>, gradients: Tensor<2>) -> Tensor<1> {
    (embeddings * Tensor::from_inner(gradients)).sum()
}
