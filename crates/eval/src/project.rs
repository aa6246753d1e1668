//! Stored features through a head.

use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, FeatureSource, HeadError, ensure, gather_tensor};

use crate::EvalError;

/// Projects image features with a head, a chunk of rows at a time, in the order of `rows`.
///
/// The head is put into validation mode (no graph, no dropout) for the purpose. The embeddings are *not*
/// normalised; the functions of this crate do that.
///
/// # Shapes
/// - result: `[rows.len(), dim]` on the plain `device`, without a graph
///
/// # Errors
/// [`EvalError::Empty`] without rows, [`EvalError::Config`] for a `chunk` of 0, [`EvalError::Features`] for rows
/// that cannot be read or used, and [`EvalError::Head`] for features that the head cannot take.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::{AlignmentHead, FeatureSource};
/// use sail_eval::{BlockSize, EvalError, Retrieval, project_images, project_texts, retrieval};
///
/// /// Retrieval with a head on two sources whose rows pair one to one.
/// fn evaluate(
///     head: &impl AlignmentHead,
///     images: &dyn FeatureSource,
///     texts: &dyn FeatureSource,
///     device: &Device,
/// ) -> Result<Retrieval, EvalError> {
///     let rows: Vec<usize> = (0..images.rows()).collect();
///     let images = project_images(head, images, &rows, device, 1024)?;
///     let texts = project_texts(head, texts, &rows, device, 1024)?;
///     retrieval(images, texts, &rows, &BlockSize::default())
/// }
/// ```
pub fn project_images(
    head: &impl AlignmentHead,
    source: &dyn FeatureSource,
    rows: &[usize],
    device: &Device,
    chunk: usize,
) -> Result<Tensor<2>, EvalError> {
    let head = head.valid();
    project(source, rows, device, chunk, |features| head.project_images(features))
}

/// Projects text features with a head: [`project_images`] for the other side.
///
/// # Errors
/// Those of [`project_images`].
pub fn project_texts(
    head: &impl AlignmentHead,
    source: &dyn FeatureSource,
    rows: &[usize],
    device: &Device,
    chunk: usize,
) -> Result<Tensor<2>, EvalError> {
    let head = head.valid();
    project(source, rows, device, chunk, |features| head.project_texts(features))
}

fn project(
    source: &dyn FeatureSource,
    rows: &[usize],
    device: &Device,
    chunk: usize,
    forward: impl Fn(Tensor<2>) -> Result<Tensor<2>, HeadError>,
) -> Result<Tensor<2>, EvalError> {
    ensure(chunk > 0, "chunk", chunk, "at least 1")?;
    if rows.is_empty() || source.dim() == 0 {
        return Err(EvalError::Empty { what: "feature row" });
    }
    let device = device.clone().without_autodiff();
    let mut embeddings = Vec::with_capacity(rows.len().div_ceil(chunk));
    for rows in rows.chunks(chunk) {
        embeddings.push(forward(gather_tensor(source, rows, &device)?)?);
    }
    Ok(Tensor::cat(embeddings, 0))
}
