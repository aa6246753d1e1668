//! Estimates the memory of a step, and the micro-batch size for a memory budget.

use std::num::NonZeroUsize;

use burn::module::Module;
use burn::tensor::Tensor;
use sail_core::{AlignmentHead, AuxiliaryRows, ContrastiveLoss, FeatureSizes, Side};
use sail_data::Pairs;

use crate::{Auxiliary, TrainConfig, TrainError, Unpaired};

/// Minimum micro-batch size for a memory budget. Below it, reading the weights takes longer than the computation.
const LEAST_ROWS: usize = 64;
/// Bytes of a micro-batch that suffice even with fewer rows: those of token states are large.
const LEAST_BYTES: f64 = (64 << 20) as f64;

/// Maximum size in bytes of batches of which several are prefetched. Of larger batches, only the next one is.
const SMALL_BATCH: usize = 64 << 20;

/// How a batch is split for the head.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Division {
    /// Not split.
    #[default]
    Whole,
    /// Into micro-batches of this many rows.
    MicroBatch(NonZeroUsize),
    /// Into the largest micro-batches that fit into this many bytes.
    Budget(u64),
}

/// Returns the number of batches to prefetch in addition to the one being read.
pub(crate) fn read_ahead(pairs: &Pairs, batch: usize, unpaired: Option<&Unpaired>) -> usize {
    if batch_values(pairs, batch, unpaired).saturating_mul(4) <= SMALL_BATCH { 2 } else { 0 }
}

/// Returns the number of values of the features of a step.
fn batch_values(pairs: &Pairs, batch: usize, unpaired: Option<&Unpaired>) -> usize {
    let unpaired = unpaired.map_or(0, |unpaired| {
        let [images, texts] = unpaired.dims();
        unpaired.batch_size().saturating_mul(images + texts)
    });
    batch.saturating_mul(row_values(pairs)).saturating_add(unpaired)
}

/// Returns the number of values per pair.
fn row_values(pairs: &Pairs) -> usize {
    let texts = (0..pairs.caption_sets()).map(|set| pairs.captions(set).dim());
    pairs.images().dim() + texts.sum::<usize>()
}

/// An estimate of the memory of a step, in bytes. It is computed in floating point to avoid overflow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepMemory {
    /// Pairs, or unpaired rows if these are more.
    batch: usize,
    /// Independent of the micro-batch size: weights, optimizer, batches, embeddings, the loss.
    fixed: f64,
    /// Per row, with one side of the head in the graph.
    row: f64,
    /// With all rows, both sides and all caption sets in one graph.
    whole: f64,
}

impl StepMemory {
    pub(crate) fn new<H: AlignmentHead>(
        config: &TrainConfig,
        head: &H,
        loss: &dyn ContrastiveLoss,
        pairs: &Pairs,
        auxiliary: &[Auxiliary],
        unpaired: Option<&Unpaired>,
    ) -> Result<Self, TrainError> {
        let (batch, sets) = (config.batch_size, pairs.caption_sets());
        let two_rows = Tensor::zeros([2, pairs.images().dim()], &head.log_scale().device().inner());
        let [_, dim] = head.valid().project_images(two_rows)?.dims();
        let activations = |side| {
            let values = head.activations(side).ok_or(TrainError::UnknownMemory { part: "the head" })?;
            Ok::<_, TrainError>(values as f64)
        };
        let (image, text) = (activations(Side::Image)?, activations(Side::Text)?);
        let loss = loss.workspace(batch, dim, sets).ok_or(TrainError::UnknownMemory { part: "the loss" })?;
        // Weights, gradients of a micro-batch, accumulated gradients, moments of the optimizer, and the moving average.
        let copies = 3 + config.optimizer.moments() + usize::from(config.ema_decay.is_some());
        let weights = Module::num_params(head) as f64 * copies as f64;
        let mut in_flight = 2 + read_ahead(pairs, batch, unpaired);
        in_flight += usize::from(config.mixup > 0.0) + usize::from(!auxiliary.is_empty());
        let batches = batch_values(pairs, batch, unpaired) as f64 * in_flight as f64;
        let unpaired_rows = unpaired.map_or(0, Unpaired::batch_size);
        // The embeddings of the micro-batches, and their concatenation; those of unpaired rows with their gradients.
        let embeddings = dim as f64 * (batch as f64 * (sets + 2) as f64 + unpaired_rows as f64 * 5.0);
        // One auxiliary loss is computed at a time; the loss before it only leaves its gradients.
        let mut largest = loss as f64;
        // With terms on patches, the images pass through the head once more, and all their patches are projected.
        let mut patches: f64 = 0.0;
        for term in auxiliary {
            if let AuxiliaryRows::Patches(layout) = term.loss().rows() {
                let sizes = FeatureSizes { image_dim: layout.row_values(), text_dim: 0, caption_sets: 0 };
                let found = term.loss().workspace(layout.tokens(), dim, sizes);
                let found = found.ok_or(TrainError::UnknownMemory { part: "an auxiliary loss" })?;
                patches += found as f64 + image + 12.0 * (layout.tokens() * dim) as f64;
                continue;
            }
            let (rows, [image_dim, text_dim], caption_sets) = match (term.loss().rows(), unpaired) {
                (AuxiliaryRows::Unpaired, Some(unpaired)) => (unpaired_rows, unpaired.dims(), 1),
                _ => (batch, [pairs.images().dim(), pairs.captions(0).dim()], sets),
            };
            let sizes = FeatureSizes { image_dim, text_dim, caption_sets };
            let found = term.loss().workspace(rows, dim, sizes);
            let found = found.ok_or(TrainError::UnknownMemory { part: "an auxiliary loss" })?;
            let gradients = batch as f64 * dim as f64 * (sets + 1) as f64;
            largest = largest.max(found as f64 + gradients);
        }
        let row = 4.0 * image.max(text).max(patches);
        let fixed = 4.0 * (weights + batches + embeddings + largest);
        let graph =
            (image + patches + text * sets as f64) * batch as f64 + (image + text) * unpaired_rows as f64;
        Ok(Self { batch: batch.max(unpaired_rows), fixed, row, whole: fixed + 4.0 * graph })
    }

    /// Returns the estimate for a micro-batch size, in bytes.
    pub(crate) fn bytes(&self, micro_batch: Option<NonZeroUsize>) -> u64 {
        match micro_batch {
            None => self.whole as u64,
            Some(rows) => (self.fixed + self.row * rows.get() as f64) as u64,
        }
    }

    /// Returns the largest micro-batch size for a step within `budget` bytes, or `None` if the whole batch fits.
    pub(crate) fn micro_batch(
        &self,
        budget: u64,
        divisible: bool,
    ) -> Result<Option<NonZeroUsize>, TrainError> {
        if self.whole <= budget as f64 {
            return Ok(None);
        }
        let enough = (LEAST_BYTES / self.row.max(1.0)).ceil() as usize;
        let least_rows = LEAST_ROWS.min(self.batch).min(enough);
        let least = if divisible { self.fixed + self.row * least_rows as f64 } else { self.whole };
        if least > budget as f64 {
            return Err(TrainError::Memory { budget, least: least.ceil() as u64 });
        }
        let rows = (budget as f64 - self.fixed) / self.row.max(1.0);
        Ok(NonZeroUsize::new((rows as usize).clamp(least_rows, self.batch)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_largest_micro_batch_within_the_budget() {
        let memory = StepMemory { batch: 1000, fixed: 1e6, row: 1e3, whole: 3e6 };
        let rows = |budget, divisible| memory.micro_batch(budget, divisible);
        assert!(matches!(rows(3_000_000, true), Ok(None)));
        assert_eq!(rows(2_999_999, true).ok().flatten().map(NonZeroUsize::get), Some(1000));
        assert_eq!(rows(1_500_000, true).ok().flatten().map(NonZeroUsize::get), Some(500));
        assert_eq!(rows(1_064_000, true).ok().flatten().map(NonZeroUsize::get), Some(64));
        for (budget, divisible, expected) in [(1_063_999, true, 1_064_000), (2_999_999, false, 3_000_000)] {
            let rejected = rows(budget, divisible);
            assert!(
                matches!(rejected, Err(TrainError::Memory { least, .. }) if least == expected),
                "{rejected:?}"
            );
        }
    }
}
