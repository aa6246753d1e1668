//! The objective.

use burn::tensor::Tensor;

use crate::LossStatistics;

/// What a loss sees of a batch. Row `i` of the images belongs with row `i` of every caption set.
#[derive(Debug, Clone)]
pub struct EmbeddingBatch {
    /// Image embeddings of unit length, `[batch, dim]`.
    pub images: Tensor<2>,
    /// Caption sets, the first the main one and the others extra positives; each of unit length, `[batch, dim]`.
    pub texts: Vec<Tensor<2>>,
    /// Natural logarithm of the logit scale, `[1]`.
    pub log_scale: Tensor<1>,
    /// The logit bias, `[1]`.
    pub bias: Tensor<1>,
}

/// The value of a loss and its derivatives with respect to everything in the batch, without a graph.
#[derive(Debug, Clone)]
pub struct LossGradients {
    /// The loss, `[1]`.
    pub value: Tensor<1>,
    /// `d value / d images`, `[batch, dim]`.
    pub images: Tensor<2>,
    /// `d value / d texts`, for each caption set `[batch, dim]`.
    pub texts: Vec<Tensor<2>>,
    /// `d value / d log_scale`, `[1]`.
    pub log_scale: Tensor<1>,
    /// `d value / d bias`, `[1]`; zero for a loss that has no bias.
    pub bias: Tensor<1>,
}

/// A batch that a loss cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// A caption set has another shape than the images.
    #[error("caption set {set} has shape {found:?}, expected {expected:?} as the images have")]
    Shape {
        /// Which caption set, from 0.
        set: usize,
        /// Its shape.
        found: [usize; 2],
        /// The images' shape.
        expected: [usize; 2],
    },
    /// The loss takes another number of caption sets.
    #[error("the batch has {found} caption sets, expected {expected}")]
    CaptionSets {
        /// How many there are.
        found: usize,
        /// How many the loss takes, in words.
        expected: &'static str,
    },
    /// A batch without a second row has no negatives.
    #[error("the batch has {found} rows, expected at least 2: contrast needs a negative")]
    TooSmall {
        /// The number of rows.
        found: usize,
    },
}

/// A loss over all pairs of a batch. It holds no parameters: the scale and the bias belong to the head.
///
/// Only [`forward`](ContrastiveLoss::forward) has to be written. A loss that knows its gradient in closed form
/// overrides [`gradients`](ContrastiveLoss::gradients), which is what training calls.
pub trait ContrastiveLoss: Send + Sync {
    /// The loss as a differentiable expression, `[1]`.
    ///
    /// # Errors
    /// [`LossError`] when the batch is too small or its parts do not fit.
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError>;

    /// The value and the derivatives; tensors in and out carry no graph.
    ///
    /// By default differentiates [`forward`](ContrastiveLoss::forward).
    ///
    /// # Errors
    /// Those of [`forward`](ContrastiveLoss::forward).
    fn gradients(&self, batch: EmbeddingBatch) -> Result<LossGradients, LossError> {
        let leaves = EmbeddingBatch {
            images: leaf(batch.images),
            texts: batch.texts.into_iter().map(leaf).collect(),
            log_scale: leaf(batch.log_scale),
            bias: leaf(batch.bias),
        };
        let value = self.forward(leaves.clone())?;
        let gradients = value.backward();
        // A leaf that the loss does not use (a bias, say) has no gradient: it is zero.
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

    /// About how many numbers [`gradients`](ContrastiveLoss::gradients) holds at the most beside the embeddings, for a
    /// batch of `rows` embeddings of `dim` numbers and so many caption sets, its result included; nothing where the
    /// loss does not know.
    fn workspace(&self, rows: usize, dim: usize, caption_sets: usize) -> Option<usize> {
        let _ = (rows, dim, caption_sets);
        None
    }

    /// Computes how the loss of a batch divides between positives and negatives; `None` if the loss has no such
    /// division. The batch carries no graph.
    ///
    /// # Errors
    /// As [`forward`](ContrastiveLoss::forward).
    fn statistics(&self, batch: EmbeddingBatch) -> Result<Option<LossStatistics>, LossError> {
        let _ = batch;
        Ok(None)
    }

    /// Describes the loss with its settings. A run is resumed only under the loss that it was started with, which is told
    /// by this; the default is the name of the type.
    fn describe(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }
}

fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(x).require_grad()
}

impl EmbeddingBatch {
    /// The number of rows, once every part is known to fit.
    ///
    /// # Errors
    /// [`LossError`] for no caption set at all, a caption set of another shape, or fewer than two rows.
    pub fn checked_rows(&self) -> Result<usize, LossError> {
        let expected = self.images.dims();
        if self.texts.is_empty() {
            return Err(LossError::CaptionSets { found: 0, expected: "at least 1" });
        }
        for (set, texts) in self.texts.iter().enumerate() {
            let found = texts.dims();
            if found != expected {
                return Err(LossError::Shape { set, found, expected });
            }
        }
        match expected[0] {
            rows @ 2.. => Ok(rows),
            found => Err(LossError::TooSmall { found }),
        }
    }
}
