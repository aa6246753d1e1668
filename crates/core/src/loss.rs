//! Contrastive losses.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::{Dtype, LossStatistics};

/// The input of a loss. Row `i` of the images and row `i` of every caption set are a positive pair, unless the batch has
/// [`Groups`].
#[derive(Debug, Clone)]
pub struct EmbeddingBatch {
    /// L2-normalized image embeddings, `[batch, dim]`.
    pub images: Tensor<2>,
    /// L2-normalized text embeddings per caption set, `[batch, dim]` each. Caption sets after the first are extra positives.
    pub texts: Vec<Tensor<2>>,
    /// Natural logarithm of the logit scale, `[1]`.
    pub log_scale: Tensor<1>,
    /// The logit bias, `[1]`.
    pub bias: Tensor<1>,
    /// The groups of the rows, which replace the rows as positives: for batches in which an image occurs several times, and
    /// for those with several texts of an image in a caption set.
    pub groups: Option<Groups>,
}

/// The group of every row of a batch. An image and a text are a positive pair if their groups are equal, whatever their
/// rows. Images and texts may differ in number.
///
/// # Examples
/// ```
/// // Two images, of which the first has two texts.
/// let groups = sail_core::Groups::new([0, 1], [0, 0, 1]);
/// assert_eq!((groups.images.len(), groups.texts.len()), (2, 3));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// The group of every image.
    pub images: Arc<[u32]>,
    /// The group of every text, in all caption sets.
    pub texts: Arc<[u32]>,
}

impl Groups {
    /// Creates groups of images and texts.
    pub fn new(images: impl Into<Arc<[u32]>>, texts: impl Into<Arc<[u32]>>) -> Self {
        Self { images: images.into(), texts: texts.into() }
    }

    /// Creates groups of rows, each with an image and its texts.
    pub fn of_rows(rows: impl Into<Arc<[u32]>>) -> Self {
        let images = rows.into();
        Self { texts: images.clone(), images }
    }
}

/// The value of a loss and its gradients with respect to all inputs, without an autodiff graph.
#[derive(Debug, Clone)]
pub struct LossGradients {
    /// The loss, `[1]`.
    pub value: Tensor<1>,
    /// `d value / d images`, `[batch, dim]`.
    pub images: Tensor<2>,
    /// `d value / d texts`, in the shape of each caption set.
    pub texts: Vec<Tensor<2>>,
    /// `d value / d log_scale`, `[1]`.
    pub log_scale: Tensor<1>,
    /// `d value / d bias`, `[1]`; zero for a loss without bias.
    pub bias: Tensor<1>,
}

/// An error of a loss that rejects a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// A caption set does not have the shape of the images or, in a batch with groups, that of the first set.
    #[error("caption set {set} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Index of the caption set.
        set: usize,
        /// Its shape.
        found: [usize; 2],
        /// The expected shape.
        expected: [usize; 2],
    },
    /// The loss does not support groups.
    #[error(
        "the loss knows one positive per row, not groups: train with `positives` set to `pair`, or with the sigmoid loss"
    )]
    Groups,
    /// The number of groups is not the number of rows.
    #[error("the batch has {found:?} groups of images and texts, expected {expected:?}, one for each row")]
    GroupRows {
        /// The numbers of groups of images and texts.
        found: [usize; 2],
        /// The numbers of rows of images and texts.
        expected: [usize; 2],
    },
    /// The loss does not support this number of caption sets.
    #[error("the batch has {found} caption sets, expected {expected}")]
    CaptionSets {
        /// The number of caption sets.
        found: usize,
        /// The supported numbers.
        expected: &'static str,
    },
    /// The batch has fewer than two rows and so no negatives.
    #[error("the batch has {found} rows, expected at least 2: contrast needs a negative")]
    TooSmall {
        /// The number of rows.
        found: usize,
    },
}

/// A loss over all pairs of a batch. It has no parameters: logit scale and bias belong to the head.
///
/// Only [`forward`](ContrastiveLoss::forward) is required. A loss with closed-form gradients overrides
/// [`gradients`](ContrastiveLoss::gradients), which training calls.
pub trait ContrastiveLoss: Send + Sync {
    /// Computes the loss as a differentiable expression, `[1]`.
    ///
    /// # Errors
    /// Returns [`LossError`] if the batch is too small or the shapes do not match.
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError>;

    /// Computes the loss and its gradients. Inputs and outputs have no autodiff graph.
    ///
    /// The default implementation differentiates [`forward`](ContrastiveLoss::forward).
    ///
    /// # Errors
    /// As [`forward`](ContrastiveLoss::forward).
    fn gradients(&self, batch: EmbeddingBatch) -> Result<LossGradients, LossError> {
        let leaves = EmbeddingBatch {
            images: leaf(batch.images),
            texts: batch.texts.into_iter().map(leaf).collect(),
            log_scale: leaf(batch.log_scale),
            bias: leaf(batch.bias),
            groups: batch.groups,
        };
        let value = self.forward(leaves.clone())?;
        let gradients = value.backward();
        // An input that the loss does not use, such as the bias, has no gradient: return zeros.
        fn of<const D: usize>(x: &Tensor<D>, gradients: &burn::tensor::Gradients) -> Tensor<D> {
            x.grad(gradients).unwrap_or_else(|| x.clone().inner().zeros_like())
        }
        Ok(LossGradients {
            images: of(&leaves.images, &gradients),
            texts: leaves.texts.iter().map(|texts| of(texts, &gradients)).collect(),
            log_scale: of(&leaves.log_scale, &gradients),
            bias: of(&leaves.bias, &gradients),
            value: value.inner(),
        })
    }

    /// Returns the loss with the matrix products of [`gradients`](ContrastiveLoss::gradients) of values rounded to
    /// `precision`, where the device has instructions for it, or `None` if the loss does not support it. Inputs, outputs and
    /// everything else stay in f32.
    fn computing_in(&self, precision: Dtype) -> Option<Arc<dyn ContrastiveLoss>> {
        let _ = precision;
        None
    }

    /// Returns an upper estimate of the values that [`gradients`](ContrastiveLoss::gradients) keeps in memory in addition to
    /// the embeddings, including its result, for `rows` embeddings of dimension `dim` and this number of caption sets, or
    /// `None` if unknown.
    fn workspace(&self, rows: usize, dim: usize, caption_sets: usize) -> Option<usize> {
        let _ = (rows, dim, caption_sets);
        None
    }

    /// Computes the statistics of positive and negative pairs, or `None` if the loss does not support them. The batch has no
    /// autodiff graph.
    ///
    /// # Errors
    /// As [`forward`](ContrastiveLoss::forward).
    fn statistics(&self, batch: EmbeddingBatch) -> Result<Option<LossStatistics>, LossError> {
        let _ = batch;
        Ok(None)
    }

    /// Describes the loss with its settings, by default by the name of the type. A run can only be resumed with a loss of
    /// the same description.
    fn describe(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }
}

fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(x).require_grad()
}

impl EmbeddingBatch {
    /// Checks the shapes and returns the number of rows.
    ///
    /// # Errors
    /// Returns [`LossError`] if there is no caption set, a caption set has another shape than the images, the batch has
    /// fewer than two rows, or it has groups.
    pub fn checked_rows(&self) -> Result<usize, LossError> {
        let [rows, _] = self.checked_shape()?;
        if self.groups.is_some() { Err(LossError::Groups) } else { Ok(rows) }
    }

    /// Checks the shapes of a batch that may have groups, and returns the number of images and that of the texts in a caption
    /// set. Without groups both are equal.
    ///
    /// # Errors
    /// As [`checked_rows`](Self::checked_rows), and [`LossError::GroupRows`] for another number of groups than rows.
    pub fn checked_shape(&self) -> Result<[usize; 2], LossError> {
        let [rows, dim] = self.images.dims();
        let expected = match (&self.groups, self.texts.first()) {
            (Some(_), Some(texts)) => [texts.dims()[0], dim],
            _ => [rows, dim],
        };
        if self.texts.is_empty() {
            return Err(LossError::CaptionSets { found: 0, expected: "at least 1" });
        }
        for (set, texts) in self.texts.iter().enumerate() {
            let found = texts.dims();
            if found != expected {
                return Err(LossError::Shape { set, found, expected });
            }
        }
        let shape = [rows, expected[0]];
        if let Some(Groups { images, texts }) = &self.groups {
            let found = [images.len(), texts.len()];
            if found != shape {
                return Err(LossError::GroupRows { found, expected: shape });
            }
        }
        match shape {
            [images, texts] if images >= 2 && texts >= 1 => Ok(shape),
            [images, texts] => Err(LossError::TooSmall { found: images.min(texts) }),
        }
    }
}
