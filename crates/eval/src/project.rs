//! Projection of stored features with a head.

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, FeatureSource, HeadError, ensure, gather_tensor};
use sail_support::chunk_rows;

use crate::EvalError;

/// Projects image features with a head, in chunks of at most `chunk` rows, fewer of wide features, and in the order of `rows`.
///
/// The head is evaluated in inference mode: without a graph and without dropout. The embeddings are *not* normalised;
/// the metrics of this crate normalise them.
///
/// # Shapes
/// - output: `[rows.len(), dim]`, on the device of the head, without a graph
///
/// # Errors
/// [`EvalError::Empty`] without rows, [`EvalError::Config`] if `chunk` is 0, [`EvalError::Features`] for rows that cannot
/// be read or are invalid, and [`EvalError::Head`] if the head rejects the features.
///
/// # Examples
/// ```
/// use sail_core::{AlignmentHead, FeatureSource};
/// use sail_eval::{BlockSize, EvalError, Retrieval, project_images, project_texts, retrieval};
///
/// /// Retrieval with a head on two sources whose rows pair one to one.
/// fn evaluate(
///     head: &impl AlignmentHead,
///     images: &dyn FeatureSource,
///     texts: &dyn FeatureSource,
/// ) -> Result<Retrieval, EvalError> {
///     let rows: Vec<usize> = (0..images.rows()).collect();
///     let images = project_images(head, images, &rows, 1024)?;
///     let texts = project_texts(head, texts, &rows, 1024)?;
///     retrieval(images, texts, &rows, &BlockSize::default())
/// }
/// ```
pub fn project_images<H: AlignmentHead>(
    head: &H,
    source: &dyn FeatureSource,
    rows: &[usize],
    chunk: usize,
) -> Result<Tensor<2>, EvalError> {
    project(head, source, rows, chunk, H::project_images)
}

/// Projects text features with a head; see [`project_images`].
///
/// # Errors
/// Those of [`project_images`].
pub fn project_texts<H: AlignmentHead>(
    head: &H,
    source: &dyn FeatureSource,
    rows: &[usize],
    chunk: usize,
) -> Result<Tensor<2>, EvalError> {
    project(head, source, rows, chunk, H::project_texts)
}

fn project<H: AlignmentHead>(
    head: &H,
    source: &dyn FeatureSource,
    rows: &[usize],
    chunk: usize,
    forward: impl Fn(&H, Tensor<2>) -> Result<Tensor<2>, HeadError>,
) -> Result<Tensor<2>, EvalError> {
    ensure(chunk > 0, "chunk", chunk, "at least 1")?;
    if rows.is_empty() || source.dim() == 0 {
        return Err(EvalError::Empty { what: "feature row" });
    }
    let head = head.valid();
    let device = head.log_scale().device();
    let chunk = chunk_rows(chunk, source.dim());
    let mut embeddings = Vec::with_capacity(rows.len().div_ceil(chunk));
    for rows in rows.chunks(chunk) {
        embeddings.push(forward(&head, gather_tensor(source, rows, &device)?)?);
    }
    Ok(Tensor::cat(embeddings, 0))
}
