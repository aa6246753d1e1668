//! InfoNCE, the loss of CLIP.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use sail_core::{ContrastiveLoss, EmbeddingBatch, LossError};
use serde::{Deserialize, Serialize};

use crate::diagonal::diagonal;

/// Which side looks for its partner among the other side's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The mean of both directions, as in CLIP.
    #[default]
    Both,
    /// Each image among all texts.
    ImageToText,
    /// Each text among all images.
    TextToImage,
}

/// InfoNCE: the cross-entropy of picking the right text for an image among the batch, and the right image for
/// a text.
///
/// With `logit_ij = exp(log_scale) * <image_i, text_j>`,
///
/// ```text
/// image to text: 1 / batch * sum_i -log(exp(logit_ii) / sum_j exp(logit_ij))
/// text to image: 1 / batch * sum_i -log(exp(logit_ii) / sum_j exp(logit_ji))
/// ```
///
/// and the loss is their mean, unless a [`Direction`] is chosen. With several caption sets it is the mean of
/// the loss of each. The batch's bias is not used: it would shift all logits alike and cancel.
///
/// From van den Oord et al. 2018 (arXiv 1807.03748); both ways in Radford et al. 2021, CLIP
/// (arXiv 2103.00020).
///
/// # Shapes
/// - images and each caption set: `[batch, dim]`, `batch` at least 2
/// - value: `[1]`
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::{ContrastiveLoss, EmbeddingBatch};
/// use sail_losses::InfoNceLoss;
///
/// let device = Device::flex();
/// let embeddings = Tensor::<2>::eye(2, &device);
/// let batch = EmbeddingBatch {
///     images: embeddings.clone(),
///     texts: vec![embeddings],
///     log_scale: Tensor::zeros([1], &device),
///     bias: Tensor::zeros([1], &device),
/// };
/// // The right text has the logit 1, the wrong one 0.
/// let loss = InfoNceLoss::new().forward(batch)?.into_scalar::<f32>();
/// assert!((loss - (1.0 + (-1f32).exp()).ln()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InfoNceLoss {
    direction: Direction,
}

impl InfoNceLoss {
    /// The symmetric loss, [`Direction::Both`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which side looks for its partner.
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }
}

impl ContrastiveLoss for InfoNceLoss {
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        batch.checked_rows()?;
        let images = batch.images * batch.log_scale.exp().unsqueeze();
        let of_set = |texts: Tensor<2>| {
            let logits = images.clone().matmul(texts.transpose());
            match self.direction {
                Direction::ImageToText => cross_entropy(logits, 1),
                Direction::TextToImage => cross_entropy(logits, 0),
                Direction::Both => (cross_entropy(logits.clone(), 1) + cross_entropy(logits, 0)) / 2.0,
            }
        };
        let sets = batch.texts.into_iter().map(of_set).collect();
        Ok(Tensor::cat(sets, 0).mean())
    }
}

/// The mean cross-entropy of the diagonal, with the choices laid out along `dim`.
fn cross_entropy(logits: Tensor<2>, dim: usize) -> Tensor<1> {
    -diagonal(log_softmax(logits, dim)).mean()
}
