//! InfoNCE, the loss of CLIP.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use sail_core::{ContrastiveLoss, EmbeddingBatch, LossError, LossGradients};
use serde::{Deserialize, Serialize};

use crate::diagonal::{diagonal, with_diagonal};
use crate::softmax::{Choice, LogSumExp, probabilities};
use crate::tiles::{TILE, carry, rows, sums, tiles, workspace};

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
/// Training calls [`gradients`](ContrastiveLoss::gradients), which goes over the pairs in tiles as Cheng et al. 2024,
/// Inf-CL (arXiv 2410.17243) do: once for the sum of each row and column, and once more for the derivatives, which
/// need these sums. It computes the logits twice and never holds more than a few tiles of them.
/// [`forward`](ContrastiveLoss::forward) is the plain expression over the whole matrix.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoNceLoss {
    direction: Direction,
    tile: NonZeroUsize,
}

impl Default for InfoNceLoss {
    fn default() -> Self {
        Self { direction: Direction::default(), tile: TILE }
    }
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

    /// Sets the side of the tiles in which [`gradients`](ContrastiveLoss::gradients) goes over the pairs; 2048 at
    /// first. It changes memory and speed, and the result by no more than rounding.
    pub fn with_tile(mut self, rows: NonZeroUsize) -> Self {
        self.tile = rows;
        self
    }

    /// How much each direction counts, image to text and text to image.
    fn weights(self) -> [f64; 2] {
        match self.direction {
            Direction::Both => [0.5, 0.5],
            Direction::ImageToText => [1.0, 0.0],
            Direction::TextToImage => [0.0, 1.0],
        }
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

    fn gradients(&self, batch: EmbeddingBatch) -> Result<LossGradients, LossError> {
        let batch_rows = batch.checked_rows()?;
        let EmbeddingBatch { images, texts, log_scale, bias } = batch;
        let divisor = batch_rows as f64 * texts.len() as f64;
        let scale = log_scale.exp().unsqueeze::<2>();
        let scaled = images.clone() * scale.clone();

        let weights = self.weights();
        let tiles = tiles(batch_rows, self.tile);
        let mut value = bias.zeros_like();
        let mut d_images = sums(&images, &tiles);
        let mut d_texts = Vec::with_capacity(texts.len());
        for texts in texts {
            let Totals { of, own } = Totals::new(&scaled, &texts, &tiles, weights);
            for (totals, weight) in of.iter().zip(weights) {
                for (total, own) in totals.iter().zip(&own) {
                    if let Some(total) = total {
                        value = value + total.cross_entropy(own.clone()) * weight;
                    }
                }
            }
            let mut d_set = sums(&texts, &tiles);
            for (r, row) in tiles.iter().enumerate() {
                let scaled = rows(&scaled, row);
                for (c, column) in tiles.iter().enumerate() {
                    let texts = rows(&texts, column);
                    let logits = scaled.clone().matmul(texts.clone().transpose());
                    let choice = |direction: usize, index: usize| {
                        let total = of[direction][index].as_ref()?;
                        Some(Choice { total, weight: weights[direction] })
                    };
                    let mut gradients = probabilities(logits, choice(0, r), choice(1, c));
                    if r == c {
                        let own = diagonal(gradients.clone()) - 1.0;
                        gradients = with_diagonal(gradients, own);
                    }
                    carry(gradients, [scaled.clone(), texts], &mut d_images[r], &mut d_set[c]);
                }
            }
            d_texts.push(Tensor::cat(d_set, 0) / divisor);
        }
        let d_images = Tensor::cat(d_images, 0) * (scale / divisor);

        Ok(LossGradients {
            value: value / divisor,
            // d logit / d log_scale = scale * <image, text>, so the sum over pairs is one over rows.
            log_scale: (images * d_images.clone()).sum(),
            bias: bias.zeros_like(),
            images: d_images,
            texts: d_texts,
        })
    }

    fn describe(&self) -> String {
        format!("info-nce {:?}", self.direction)
    }

    fn workspace(&self, rows: usize, dim: usize, caption_sets: usize) -> Option<usize> {
        Some(workspace(self.tile, rows, dim, caption_sets))
    }
}

/// What the derivatives need to know of the whole matrix.
struct Totals {
    /// For either direction, the sums over the whole rows or columns of each tile; nothing for one without weight.
    of: [Vec<Option<LogSumExp>>; 2],
    /// The logits on the diagonal, of each tile there.
    own: Vec<Tensor<1>>,
}

impl Totals {
    fn new(scaled: &Tensor<2>, texts: &Tensor<2>, tiles: &[Range<usize>], weights: [f64; 2]) -> Self {
        let mut of = [vec![None; tiles.len()], vec![None; tiles.len()]];
        let mut own = Vec::with_capacity(tiles.len());
        for (r, row) in tiles.iter().enumerate() {
            for (c, column) in tiles.iter().enumerate() {
                let logits = rows(scaled, row).matmul(rows(texts, column).transpose());
                if r == c {
                    own.push(diagonal(logits.clone()));
                }
                for (direction, (index, dim)) in [(r, 1), (c, 0)].into_iter().enumerate() {
                    if weights[direction] > 0.0 {
                        let total: &mut Option<LogSumExp> = &mut of[direction][index];
                        let of_tile = LogSumExp::new(logits.clone(), dim);
                        *total = Some(match total.take() {
                            Some(before) => before.join(of_tile),
                            None => of_tile,
                        });
                    }
                }
            }
        }
        Self { of, own }
    }
}

/// The mean cross-entropy of the diagonal, with the choices laid out along `dim`.
fn cross_entropy(logits: Tensor<2>, dim: usize) -> Tensor<1> {
    -diagonal(log_softmax(logits, dim)).mean()
}
