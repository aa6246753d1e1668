//! The STRUCTURE regularizer.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use sail_core::{
    AuxiliaryBatch, AuxiliaryError, AuxiliaryGradients, AuxiliaryLoss, AuxiliaryRows, Check, ConfigError,
    FeatureSizes, ensure, l2_normalize,
};
use sail_support::ranges;
use serde::{Deserialize, Serialize};

use crate::tiles::{TILE_SIZE, rows};

/// Added to probabilities before their logarithm. Far below what f32 resolves in a sum that is one, and above the smallest
/// normal value, which devices may round to zero.
const TINY: f64 = 1e-37;

/// STRUCTURE: keeps the neighborhoods that the features of a batch have, at several scales.
///
/// The rows of the features `X` are normalized and centred, as are those of the embeddings `A`. With
/// `P_X = softmax(X X^T / temperature)` over rows, the transition matrix of a random walk over the batch, and its powers,
///
/// ```text
/// R(X, A) = 1 / levels * sum_l JS(P_X^l, P_A^l) / l,   l = 1 ... levels
/// ```
///
/// where `JS` is the Jensen-Shannon divergence of rows, 0 to ln 2, averaged over the batch. The value is `R` of the images
/// plus that of the texts, averaged over the caption sets. It does not change if features are scaled, shifted or rotated as
/// a whole after normalization.
///
/// From Gröger et al. 2025, "With Limited Data for Multimodal Alignment, Let the STRUCTURE Guide You" (arXiv 2506.16895).
///
/// # Memory and time
/// Blocks of whole rows of the matrices are computed at a time, as many as fit into 16 MiB, and never all of them. One level
/// takes `batch^2 * dim` operations. A further level multiplies each block by the matrix, whose rows are computed again, and
/// its gradient by the transpose: `batch^3`.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use sail_core::{AuxiliaryBatch, AuxiliaryLoss, l2_normalize};
/// use sail_losses::Structure;
///
/// let features = Tensor::<2>::random([8, 4], Distribution::Default, &Device::flex());
/// let embeddings = l2_normalize(features.clone());
/// let batch = AuxiliaryBatch {
///     image_features: features.clone(),
///     text_features: vec![features],
///     images: embeddings.clone(),
///     texts: vec![embeddings],
/// };
/// // Embeddings with the geometry of their features.
/// assert!(Structure::default().gradients(&batch)?.value.into_scalar::<f32>() < 1e-6);
/// # Ok::<(), sail_core::AuxiliaryError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Structure {
    /// Number of powers of the transition matrices, 1 to 16.
    pub levels: usize,
    /// Temperature of the softmax, in units of the cosine.
    pub temperature: f64,
    #[serde(skip)]
    block_rows: Option<usize>,
}

impl Default for Structure {
    fn default() -> Self {
        Self { levels: 1, temperature: 0.05, block_rows: None }
    }
}

impl Structure {
    /// Sets the number of levels.
    #[must_use]
    pub fn with_levels(mut self, levels: usize) -> Self {
        self.levels = levels;
        self
    }

    /// Sets the temperature.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets the number of rows that are computed at a time. It affects memory and speed, and the result only by rounding.
    #[must_use]
    pub fn with_block_rows(mut self, rows: usize) -> Self {
        self.block_rows = Some(rows);
        self
    }

    fn block_rows(&self, rows: usize) -> usize {
        let tile = TILE_SIZE.get() * TILE_SIZE.get();
        self.block_rows.unwrap_or(tile / rows.max(1)).clamp(1, rows.max(1))
    }

    /// The regularizer of one side and its gradient with respect to the embeddings.
    fn side(&self, features: &Tensor<2>, embeddings: &Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        let [count, _] = embeddings.dims();
        let blocks: Vec<_> = ranges(count, self.block_rows(count)).collect();
        let walk = |points: Tensor<2>| Walk {
            points: centred(points),
            temperature: self.temperature,
            blocks: &blocks,
        };
        let (target, found) = (walk(l2_normalize(features.clone())), walk(embeddings.clone()));
        let mut value = Tensor::zeros([1], &embeddings.device());
        let mut sum = PointGradients::new(&found);
        for (index, block) in blocks.iter().enumerate() {
            let (mut p, mut q) = (target.steps(block), found.steps(block));
            // For every level, the rows of the power and the derivative of the value with respect to them.
            let mut levels = Vec::with_capacity(self.levels);
            for level in 1..=self.levels {
                if level > 1 {
                    (p, q) = (target.advance(&p), found.advance(&q));
                }
                let weight = 1.0 / (self.levels * level * count) as f64;
                let (divergence, d_q) = jensen_shannon(&p, &q);
                value = value + divergence * weight;
                levels.push((q.clone(), d_q * weight));
            }
            // From the last power to the first: `Q_l = Q_(l-1) Q`.
            let mut products = Vec::with_capacity(self.levels);
            let mut adjoint = None;
            while let Some((q, d_q)) = levels.pop() {
                let d_q = match adjoint.take() {
                    Some(d_next) => {
                        let d_q = d_q + found.advance_transposed(&d_next);
                        products.push((q.clone(), d_next));
                        d_q
                    }
                    None => d_q,
                };
                if levels.is_empty() {
                    // The first power consists of rows of the matrix itself.
                    sum.add(&found, index, q, d_q);
                    break;
                }
                adjoint = Some(d_q);
            }
            if products.is_empty() {
                continue;
            }
            for (index, block) in blocks.iter().enumerate() {
                let term = |(q, d_next): &(Tensor<2>, Tensor<2>)| {
                    columns(q, block).transpose().matmul(d_next.clone())
                };
                if let Some(d_steps) = products.iter().map(term).reduce(|sum, x| sum + x) {
                    sum.add(&found, index, found.steps(block), d_steps);
                }
            }
        }
        (value, sum.finish(self.temperature))
    }
}

/// A random walk over the rows of a batch, whose transition matrix is computed in blocks of rows.
struct Walk<'a> {
    /// `[batch, dim]`.
    points: Tensor<2>,
    temperature: f64,
    blocks: &'a [Range<usize>],
}

impl Walk<'_> {
    /// A block of rows of the transition matrix, `[rows, batch]`.
    fn steps(&self, block: &Range<usize>) -> Tensor<2> {
        let logits = (rows(&self.points, block) / self.temperature).matmul(self.points.clone().transpose());
        softmax(logits, 1)
    }

    /// The product of `distributions`, `[rows, batch]`, and the transition matrix.
    fn advance(&self, distributions: &Tensor<2>) -> Tensor<2> {
        let term = |block| columns(distributions, block).matmul(self.steps(block));
        let sum = self.blocks.iter().map(term).reduce(|sum, x| sum + x);
        sum.unwrap_or_else(|| distributions.zeros_like())
    }

    /// The product of `x`, `[rows, batch]`, and the transpose of the transition matrix.
    fn advance_transposed(&self, x: &Tensor<2>) -> Tensor<2> {
        let part = |block| x.clone().matmul(self.steps(block).transpose());
        Tensor::cat(self.blocks.iter().map(part).collect(), 1)
    }
}

/// The gradient with respect to the points of a walk, before the temperature: its parts by block of rows, and the rest.
struct PointGradients {
    blocks: Vec<Tensor<2>>,
    all: Tensor<2>,
}

impl PointGradients {
    fn new(walk: &Walk<'_>) -> Self {
        let blocks = walk.blocks.iter().map(|block| rows(&walk.points, block).zeros_like()).collect();
        Self { blocks, all: walk.points.zeros_like() }
    }

    /// Adds the gradient of a block of rows of the transition matrix, through the softmax and the similarities.
    fn add(&mut self, walk: &Walk<'_>, index: usize, steps: Tensor<2>, d_steps: Tensor<2>) {
        let weighted = steps.clone() * d_steps;
        let d_logits = weighted.clone() - steps * weighted.sum_dim(1);
        let block = rows(&walk.points, &walk.blocks[index]);
        self.all.inplace(|sum| sum + d_logits.clone().transpose().matmul(block));
        self.blocks[index].inplace(|sum| sum + d_logits.matmul(walk.points.clone()));
    }

    fn finish(self, temperature: f64) -> Tensor<2> {
        centred((self.all + Tensor::cat(self.blocks, 0)) / temperature)
    }
}

/// Subtracts the mean of the rows, which is its own transpose and so its own backward pass.
fn centred(x: Tensor<2>) -> Tensor<2> {
    let mean = x.clone().mean_dim(0);
    x - mean
}

fn columns(x: &Tensor<2>, range: &Range<usize>) -> Tensor<2> {
    let [rows, _] = x.dims();
    x.clone().slice([0..rows, range.clone()])
}

/// The sum over rows of the Jensen-Shannon divergence of `p` and `q`, and its derivative with respect to `q`.
fn jensen_shannon(p: &Tensor<2>, q: &Tensor<2>) -> (Tensor<1>, Tensor<2>) {
    let mean = (p.clone() + q.clone()) / 2.0 + TINY;
    // Of the ratio, which is close to one where the distributions agree.
    let log_ratio = |x: &Tensor<2>| ((x.clone() + TINY) / mean.clone()).log();
    let (log_p, log_q) = (log_ratio(p), log_ratio(q));
    let divergence = (p.clone() * log_p + q.clone() * log_q.clone()).sum() / 2.0;
    (divergence, log_q / 2.0)
}

impl Check for Structure {
    fn check(&self) -> Result<(), ConfigError> {
        ensure((1..=16).contains(&self.levels), "levels", self.levels, "1 to 16")?;
        let temperature = self.temperature;
        ensure((1e-3..=1e3).contains(&temperature), "temperature", temperature, "0.001 to 1000")
    }
}

impl AuxiliaryLoss for Structure {
    fn name(&self) -> &str {
        "structure"
    }

    fn rows(&self) -> AuxiliaryRows {
        AuxiliaryRows::Pairs
    }

    fn gradients(&self, batch: &AuxiliaryBatch) -> Result<AuxiliaryGradients, AuxiliaryError> {
        batch.checked_rows()?;
        let (mut value, images) = self.side(&batch.image_features, &batch.images);
        let sets = batch.texts.len() as f64;
        let mut texts = Vec::with_capacity(batch.texts.len());
        for (features, embeddings) in batch.text_features.iter().zip(&batch.texts) {
            let (of_set, gradient) = self.side(features, embeddings);
            value = value + of_set / sets;
            texts.push(gradient / sets);
        }
        Ok(AuxiliaryGradients { value, images, texts })
    }

    fn workspace(&self, rows: usize, dim: usize, features: FeatureSizes) -> Option<usize> {
        // Rows, derivative and adjoint of every level, and the temporary values of a softmax and a divergence.
        let blocks = self.block_rows(rows).saturating_mul(rows).saturating_mul(4 * self.levels + 8);
        let points = dim.saturating_mul(6 + features.caption_sets);
        let values = points.saturating_add(2 * features.image_dim.max(features.text_dim));
        Some(blocks.saturating_add(rows.saturating_mul(values)))
    }

    fn describe(&self) -> String {
        format!("structure, levels {}, temperature {}", self.levels, self.temperature)
    }
}
