//! InfoNCE, the loss of CLIP.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use sail_core::{ContrastiveLoss, Dtype, EmbeddingBatch, LossError, LossGradients};
use serde::{Deserialize, Serialize};

use crate::diagonal::{diagonal, with_diagonal};
use crate::softmax::{LogSumExp, Weighted, log_sum_exp, weighted_softmax};
use crate::tiles::{TILE_SIZE, accumulators, backpropagate, products, rows, tiles, workspace};
use sail_matmul::Products;

/// Which side provides the queries of the cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The mean of both directions, as in CLIP.
    #[default]
    Both,
    /// Each image is classified among all texts.
    ImageToText,
    /// Each text is classified among all images.
    TextToImage,
}

/// InfoNCE: the cross-entropy of the matching text of an image against in-batch negatives, and of the matching image of
/// a text.
///
/// With `logit_ij = exp(log_scale) * <image_i, text_j>`,
///
/// ```text
/// image to text: 1 / batch * sum_i -log(exp(logit_ii) / sum_j exp(logit_ij))
/// text to image: 1 / batch * sum_i -log(exp(logit_ii) / sum_j exp(logit_ji))
/// ```
///
/// and the loss is their mean, unless a single [`Direction`] is selected. With several caption sets it is the mean over
/// the sets. The bias of the batch is not used: it would shift all logits alike and cancel.
///
/// From van den Oord et al. 2018 (arXiv 1807.03748); both ways in Radford et al. 2021, CLIP
/// (arXiv 2103.00020).
///
/// Training calls [`gradients`](ContrastiveLoss::gradients), which processes the pairs in tiles as Inf-CL does (Cheng et
/// al. 2024, arXiv 2410.17243): one pass for the normalisers of rows and columns, a second one for the gradients. The
/// logits are computed twice, and only a few tiles of them are held at a time.
/// [`forward`](ContrastiveLoss::forward) materialises the whole matrix.
///
/// # Shapes
/// - images and each caption set: `[batch, dim]`, `batch` at least 2
/// - value: `[1]`
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::{ContrastiveLoss, Dtype, EmbeddingBatch};
/// use sail_losses::InfoNceLoss;
///
/// let device = Device::flex();
/// let embeddings = Tensor::<2>::eye(2, &device);
/// let batch = EmbeddingBatch {
///     images: embeddings.clone(),
///     texts: vec![embeddings],
///     log_scale: Tensor::zeros([1], &device),
///     bias: Tensor::zeros([1], &device),
///     groups: None,
/// };
/// // The logit of the matching text is 1, that of the other text 0.
/// let loss = InfoNceLoss::new().forward(batch)?.into_scalar::<f32>();
/// assert!((loss - (1.0 + (-1f32).exp()).ln()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoNceLoss {
    direction: Direction,
    tile_size: NonZeroUsize,
    precision: Dtype,
}

impl Default for InfoNceLoss {
    fn default() -> Self {
        Self { direction: Direction::default(), tile_size: TILE_SIZE, precision: Dtype::F32 }
    }
}

impl InfoNceLoss {
    /// Creates the symmetric loss, [`Direction::Both`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which side provides the queries.
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Sets the tile size of [`gradients`](ContrastiveLoss::gradients), 2048 rows and columns by default. It affects
    /// memory and speed, and the result only by rounding.
    pub fn with_tile_size(mut self, tile_size: NonZeroUsize) -> Self {
        self.tile_size = tile_size;
        self
    }

    /// The weights of image to text and text to image.
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
        let EmbeddingBatch { images, texts, log_scale, bias, .. } = batch;
        let divisor = batch_rows as f64 * texts.len() as f64;
        let scale = log_scale.exp().unsqueeze::<2>();
        let scaled = images.clone() * scale.clone();

        let weights = self.weights();
        let products = products(self.precision, &images.device());
        let tiles = tiles(batch_rows, self.tile_size);
        let mut value = bias.zeros_like();
        let mut d_images = accumulators(&images, &tiles);
        let mut d_texts = Vec::with_capacity(texts.len());
        for texts in texts {
            let FirstPass { normalizers, positives } =
                FirstPass::new(products, &scaled, &texts, &tiles, weights);
            for (normalizers, weight) in normalizers.iter().zip(weights) {
                for (normalizer, positives) in normalizers.iter().zip(&positives) {
                    if let Some(normalizer) = normalizer {
                        value = value + normalizer.cross_entropy(positives.clone()) * weight;
                    }
                }
            }
            let mut d_set = accumulators(&texts, &tiles);
            for (r, row) in tiles.iter().enumerate() {
                let scaled = rows(&scaled, row);
                for (c, column) in tiles.iter().enumerate() {
                    let texts = rows(&texts, column);
                    let logits = products.matmul(scaled.clone(), texts.clone().transpose());
                    let weighted = |direction: usize, index: usize| {
                        let normalizer = normalizers[direction][index].as_ref()?;
                        Some(Weighted { normalizer, weight: weights[direction] })
                    };
                    let mut d_logits = weighted_softmax(logits, weighted(0, r), weighted(1, c));
                    if r == c {
                        // The gradient of a cross-entropy is the softmax minus the one-hot target.
                        let positives = diagonal(d_logits.clone()) - 1.0;
                        d_logits = with_diagonal(d_logits, positives);
                    }
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

    fn computing_in(&self, precision: Dtype) -> Option<Arc<dyn ContrastiveLoss>> {
        Some(Arc::new(Self { precision, ..*self }))
    }

    fn workspace(&self, rows: usize, dim: usize, caption_sets: usize) -> Option<usize> {
        Some(workspace(self.tile_size, rows, dim, caption_sets))
    }
}

/// What the second pass needs of the whole matrix.
struct FirstPass {
    /// For both directions, the normalisers of the rows or columns of each tile; `None` if the direction has no weight.
    normalizers: [Vec<Option<LogSumExp>>; 2],
    /// The logits of the positives, for each tile on the diagonal.
    positives: Vec<Tensor<1>>,
}

impl FirstPass {
    fn new(
        products: Products,
        scaled: &Tensor<2>,
        texts: &Tensor<2>,
        tiles: &[Range<usize>],
        weights: [f64; 2],
    ) -> Self {
        let mut normalizers = [vec![None; tiles.len()], vec![None; tiles.len()]];
        let mut positives = Vec::with_capacity(tiles.len());
        for (r, row) in tiles.iter().enumerate() {
            for (c, column) in tiles.iter().enumerate() {
                let logits = products.matmul(rows(scaled, row), rows(texts, column).transpose());
                if r == c {
                    positives.push(diagonal(logits.clone()));
                }
                for (direction, (index, dim)) in [(r, 1), (c, 0)].into_iter().enumerate() {
                    if weights[direction] > 0.0 {
                        let normalizer: &mut Option<LogSumExp> = &mut normalizers[direction][index];
                        let of_tile = log_sum_exp(logits.clone(), dim);
                        *normalizer = Some(match normalizer.take() {
                            Some(previous) => previous.merge(of_tile),
                            None => of_tile,
                        });
                    }
                }
            }
        }
        Self { normalizers, positives }
    }
}

/// The mean cross-entropy with targets on the diagonal and classes along `dim`.
fn cross_entropy(logits: Tensor<2>, dim: usize) -> Tensor<1> {
    -diagonal(log_softmax(logits, dim)).mean()
}
