//! The sigmoid loss, with one or more caption sets.

use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::tensor::Tensor;
use sail_core::{ContrastiveLoss, Dtype, EmbeddingBatch, LossError, LossGradients, LossStatistics, Named};
use serde::{Deserialize, Serialize};

use crate::diagonal::flip_diagonal;
use crate::logistic::{LogisticTerms, logistic_terms, softplus};
use crate::positives::Positives;
use crate::statistics::sigmoid_statistics;
use crate::tiles::{TILE_SIZE, accumulators, backpropagate, products, rows, tiles, workspace};

/// The divisor of the sum over a `[batch, batch]` block of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// The number of pairs, `batch^2`, as in SAIL.
    #[default]
    PairCount,
    /// The number of rows, `batch`, as in SigLIP.
    Batch,
}

/// The reduction over the blocks of several caption sets. With a single caption set both are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocks {
    /// The mean, as in SAIL's published code: the scale of the loss does not depend on the number of caption sets.
    #[default]
    Mean,
    /// The sum, as in SAIL's paper: `sets` times the mean, which is a `sets` times larger learning rate for optimisers
    /// that depend on the scale of gradients.
    Sum,
}

impl Named for Normalization {
    const ALL: &'static [Self] = &[Self::PairCount, Self::Batch];

    fn name(self) -> &'static str {
        match self {
            Self::PairCount => "pair-count",
            Self::Batch => "batch",
        }
    }
}

impl Named for Blocks {
    const ALL: &'static [Self] = &[Self::Mean, Self::Sum];

    fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sum => "sum",
        }
    }
}

/// The sigmoid loss: an independent binary classification of every image-text pair.
///
/// With `logit_ij = exp(log_scale) * <image_i, text_j> + bias` and `label_ij` +1 for `i = j` and -1
/// elsewhere,
///
/// ```text
/// loss = 1 / n * sum_ij -log sigmoid(label_ij * logit_ij)
/// ```
///
/// where `n` is `batch^2` or `batch` ([`Normalization`]). Each extra caption set adds a block of pairs with
/// the images, whose positives are on its own diagonal ([`Blocks`]); captions are never compared with captions.
///
/// In a batch with [`Groups`](sail_core::Groups) the positives of a block are all pairs of equal groups. Each of the `k`
/// positives of an image has the weight `1 / k`, so every image counts as one positive, and `n` is
/// `images * texts` or `images`.
///
/// From Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training" (arXiv 2303.15343); divided by the
/// pair count and with extra positives in Zhang et al. 2024, SAIL (arXiv 2412.04616).
///
/// Training calls [`gradients`](ContrastiveLoss::gradients), which processes the pairs in tiles: its memory grows with
/// `batch * dim`, not with `batch^2`. [`forward`](ContrastiveLoss::forward) materialises the whole matrix.
///
/// # Shapes
/// - images and each caption set: `[batch, dim]`, `batch` at least 2; with groups `[images, dim]` and `[texts, dim]`
/// - value: `[1]`
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::{ContrastiveLoss, Dtype, EmbeddingBatch};
/// use sail_losses::SigmoidLoss;
///
/// let device = Device::flex();
/// let embeddings = Tensor::<2>::eye(2, &device);
/// let batch = EmbeddingBatch {
///     images: embeddings.clone(),
///     texts: vec![embeddings],
///     log_scale: Tensor::from_floats([20f32.ln()], &device),
///     bias: Tensor::from_floats([-10.0], &device),
///     groups: None,
/// };
/// // The logits of positives are 10, those of negatives -10: the loss of every pair is ln(1 + exp(-10)).
/// let loss = SigmoidLoss::new().gradients(batch)?.value.into_scalar::<f32>();
/// assert!((loss - 4.5399e-5).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigmoidLoss {
    normalization: Normalization,
    blocks: Blocks,
    tile_size: NonZeroUsize,
    precision: Dtype,
}

impl Default for SigmoidLoss {
    fn default() -> Self {
        Self {
            normalization: Normalization::default(),
            blocks: Blocks::default(),
            tile_size: TILE_SIZE,
            precision: Dtype::F32,
        }
    }
}

impl SigmoidLoss {
    /// Creates the loss with SAIL's reductions: [`Normalization::PairCount`], [`Blocks::Mean`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the divisor of a block.
    pub fn with_normalization(mut self, normalization: Normalization) -> Self {
        self.normalization = normalization;
        self
    }

    /// Sets the reduction over the blocks of several caption sets.
    pub fn with_blocks(mut self, blocks: Blocks) -> Self {
        self.blocks = blocks;
        self
    }

    /// Sets the tile size of [`gradients`](ContrastiveLoss::gradients), 2048 rows and columns by default. It affects
    /// memory and speed, and the result only by rounding.
    pub fn with_tile_size(mut self, tile_size: NonZeroUsize) -> Self {
        self.tile_size = tile_size;
        self
    }

    /// The divisor of the sum over the pairs of all blocks.
    fn divisor(self, [rows, columns]: [usize; 2], sets: usize) -> f64 {
        let block = match self.normalization {
            Normalization::PairCount => rows as f64 * columns as f64,
            Normalization::Batch => rows as f64,
        };
        match self.blocks {
            Blocks::Mean => block * sets as f64,
            Blocks::Sum => block,
        }
    }
}

impl ContrastiveLoss for SigmoidLoss {
    fn forward(&self, batch: EmbeddingBatch) -> Result<Tensor<1>, LossError> {
        let shape = batch.checked_shape()?;
        let divisor = self.divisor(shape, batch.texts.len());
        let images = batch.images * batch.log_scale.exp().unsqueeze();
        let of_batch = Positives::new(batch.groups.as_ref());
        let block = |texts: Tensor<2>| {
            let logits = images.clone().matmul(texts.transpose()) + batch.bias.clone().unsqueeze();
            match &of_batch {
                Positives::Diagonal => softplus(flip_diagonal(logits)).sum(),
                Positives::Groups { .. } => {
                    let [labels, weights] = of_batch.dense(shape, &logits.device());
                    (softplus(logits * labels) * weights).sum()
                }
            }
        };
        let blocks = batch.texts.into_iter().map(block).collect();
        Ok(Tensor::cat(blocks, 0).sum() / divisor)
    }

    fn gradients(&self, batch: EmbeddingBatch) -> Result<LossGradients, LossError> {
        let shape = batch.checked_shape()?;
        let divisor = self.divisor(shape, batch.texts.len());
        let positives = Positives::new(batch.groups.as_ref());
        let EmbeddingBatch { images, texts, log_scale, bias, .. } = batch;
        let scale = log_scale.exp().unsqueeze::<2>();
        let scaled = images.clone() * scale.clone();

        let products = products(self.precision, &images.device());
        let [row_tiles, column_tiles] = shape.map(|rows| tiles(rows, self.tile_size));
        let mut value = bias.zeros_like();
        let mut d_bias = bias.zeros_like();
        let mut d_images = accumulators(&images, &row_tiles);
        let mut d_texts = Vec::with_capacity(texts.len());
        for texts in texts {
            let mut d_set = accumulators(&texts, &column_tiles);
            for (r, row) in row_tiles.iter().enumerate() {
                let scaled = rows(&scaled, row);
                for (c, column) in column_tiles.iter().enumerate() {
                    let texts = rows(&texts, column);
                    let logits = products.matmul(scaled.clone(), texts.clone().transpose());
                    let LogisticTerms { loss, d_logits, d_bias: d_bias_of_tile } =
                        logistic_terms(logits, &bias, positives.of_tile(row, column));
                    value = value + loss;
                    d_bias = d_bias + d_bias_of_tile;
                    backpropagate(
                        products,
                        d_logits,
                        [scaled.clone(), texts],
                        &mut d_images[r],
                        &mut d_set[c],
                    );
                }
            }
            d_texts.push(Tensor::cat(d_set, 0) / divisor);
        }
        let d_images = Tensor::cat(d_images, 0);
        let d_images = d_images * (scale / divisor);

        Ok(LossGradients {
            value: value / divisor,
            // d logit / d log_scale = scale * <image, text>, so the sum over pairs is one over rows.
            log_scale: (images * d_images.clone()).sum(),
            bias: d_bias / divisor,
            images: d_images,
            texts: d_texts,
        })
    }

    fn statistics(&self, batch: EmbeddingBatch) -> Result<Option<LossStatistics>, LossError> {
        sigmoid_statistics(batch, self.tile_size).map(Some)
    }

    fn describe(&self) -> String {
        // The tile size affects the result only by rounding.
        let Self { normalization, blocks, .. } = self;
        format!("sigmoid {normalization:?} {blocks:?}")
    }

    fn computing_in(&self, precision: Dtype) -> Option<Arc<dyn ContrastiveLoss>> {
        Some(Arc::new(Self { precision, ..*self }))
    }

    fn workspace(&self, rows: usize, dim: usize, caption_sets: usize) -> Option<usize> {
        Some(workspace(self.tile_size, rows, dim, caption_sets))
    }
}
