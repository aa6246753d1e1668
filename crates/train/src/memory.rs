//! Estimates the memory of a step, and the micro-batch size for a memory budget.

use std::num::NonZeroUsize;

use burn::module::Module;
use burn::tensor::Tensor;
use sail_core::{AlignmentHead, ContrastiveLoss, Side};
use sail_data::Pairs;

use crate::{TrainConfig, TrainError};

/// Minimum micro-batch size for a memory budget. Below it, reading the weights takes longer than the computation.
const LEAST_ROWS: usize = 64;

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
pub(crate) fn read_ahead(pairs: &Pairs, batch: usize) -> usize {
    if batch.saturating_mul(row_values(pairs)).saturating_mul(4) <= SMALL_BATCH { 2 } else { 0 }
}

/// Returns the number of values per pair.
fn row_values(pairs: &Pairs) -> usize {
    let texts = (0..pairs.caption_sets()).map(|set| pairs.captions(set).dim());
    pairs.images().dim() + texts.sum::<usize>()
}

/// An estimate of the memory of a step, in bytes. It is computed in floating point to avoid overflow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepMemory {
    batch: usize,
    /// Independent of the micro-batch size: weights, optimizer, batches, embeddings, the loss.
    fixed: f64,
    /// Per row, with one side of the head in the graph.
    row: f64,
    /// Per row, with both sides and all caption sets in one graph.
    whole_row: f64,
}

impl StepMemory {
    pub(crate) fn new<H: AlignmentHead>(
        config: &TrainConfig,
        head: &H,
        loss: &dyn ContrastiveLoss,
        pairs: &Pairs,
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
        let in_flight = 2 + read_ahead(pairs, batch) + usize::from(config.mixup > 0.0);
        let batches = batch as f64 * row_values(pairs) as f64 * in_flight as f64;
        // The embeddings of the micro-batches, and their concatenation.
        let embeddings = batch as f64 * dim as f64 * (sets + 2) as f64;
        Ok(Self {
            batch,
            fixed: 4.0 * (weights + batches + embeddings + loss as f64),
            row: 4.0 * image.max(text),
            whole_row: 4.0 * (image + text * sets as f64),
        })
    }

    fn whole(&self) -> f64 {
        self.fixed + self.whole_row * self.batch as f64
    }

    /// Returns the estimate for a micro-batch size, in bytes.
    pub(crate) fn bytes(&self, micro_batch: Option<NonZeroUsize>) -> u64 {
        match micro_batch {
            None => self.whole() as u64,
            Some(rows) => (self.fixed + self.row * rows.get() as f64) as u64,
        }
    }

    /// Returns the largest micro-batch size for a step within `budget` bytes, or `None` if the whole batch fits.
    pub(crate) fn micro_batch(
        &self,
        budget: u64,
        divisible: bool,
    ) -> Result<Option<NonZeroUsize>, TrainError> {
        if self.whole() <= budget as f64 {
            return Ok(None);
        }
        let least_rows = LEAST_ROWS.min(self.batch);
        let least = if divisible { self.fixed + self.row * least_rows as f64 } else { self.whole() };
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
        let memory = StepMemory { batch: 1000, fixed: 1e6, row: 1e3, whole_row: 2e3 };
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
