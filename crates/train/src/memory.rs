//! How much of a batch goes through the head at once.

use std::num::NonZeroUsize;

use burn::module::Module;
use burn::tensor::Tensor;
use sail_core::{AlignmentHead, ContrastiveLoss, Side};
use sail_data::Pairs;

use crate::{OptimizerConfig, TrainConfig, TrainError};

/// Rows of the smallest chunk that a budget gives: with fewer the weights are read more than they are used.
const LEAST_ROWS: usize = 64;

/// Batches up to this many bytes are read well ahead of the device; of larger ones the next alone is.
const SMALL_BATCH: usize = 64 << 20;

/// How a batch is cut on its way through the head.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Division {
    /// Not at all.
    #[default]
    Whole,
    /// Into chunks of so many rows.
    Chunks(NonZeroUsize),
    /// As little as so many bytes allow.
    Budget(u64),
}

/// Batches that wait while the device computes, beside the one that is being read.
pub(crate) fn read_ahead(pairs: &Pairs, batch: usize) -> usize {
    if batch.saturating_mul(row_numbers(pairs)).saturating_mul(4) <= SMALL_BATCH { 2 } else { 0 }
}

/// Numbers of a row of a batch.
fn row_numbers(pairs: &Pairs) -> usize {
    let texts = (0..pairs.caption_sets()).map(|set| pairs.captions(set).dim());
    pairs.images().dim() + texts.sum::<usize>()
}

/// An estimate of what a step takes, in bytes. Counted in floating point, which no configuration overflows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepMemory {
    batch: usize,
    /// What any step holds: weights, optimiser, batches, embeddings, the loss.
    fixed: f64,
    /// What each row in the head adds when only one side's are there.
    row: f64,
    /// What each row adds when both sides and all caption sets are in one graph.
    whole_row: f64,
}

impl StepMemory {
    pub(crate) fn of<H: AlignmentHead>(
        config: &TrainConfig,
        head: &H,
        loss: &dyn ContrastiveLoss,
        pairs: &Pairs,
    ) -> Result<Self, TrainError> {
        let (batch, sets) = (config.batch, pairs.caption_sets());
        let two_rows = Tensor::zeros([2, pairs.images().dim()], &head.log_scale().device().inner());
        let [_, dim] = head.valid().project_images(two_rows)?.dims();
        let activations = |side| {
            let numbers = head.activations(side).ok_or(TrainError::UnknownMemory { part: "the head" })?;
            Ok::<_, TrainError>(numbers as f64)
        };
        let (image, text) = (activations(Side::Image)?, activations(Side::Text)?);
        let loss = loss.workspace(batch, dim, sets).ok_or(TrainError::UnknownMemory { part: "the loss" })?;
        // Weights, the gradients of a chunk and of all of them, and the optimiser's moments.
        let moments = match config.optimizer {
            OptimizerConfig::Lion { .. } => 1,
            OptimizerConfig::AdamW { .. } => 2,
        };
        let weights = Module::num_params(head) as f64 * f64::from(3 + moments);
        let batches = batch as f64 * row_numbers(pairs) as f64 * (2 + read_ahead(pairs, batch)) as f64;
        // Chunks of embeddings, and the whole that they are joined to.
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

    /// Rows of a chunk for a step within `budget` bytes; nothing where the batch need not be cut.
    pub(crate) fn chunk(&self, budget: u64, divisible: bool) -> Result<Option<NonZeroUsize>, TrainError> {
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
    fn a_budget_is_used_as_far_as_it_goes() {
        let memory = StepMemory { batch: 1000, fixed: 1e6, row: 1e3, whole_row: 2e3 };
        let chunk = |budget, divisible| memory.chunk(budget, divisible);
        assert!(matches!(chunk(3_000_000, true), Ok(None)));
        assert_eq!(chunk(2_999_999, true).ok().flatten().map(NonZeroUsize::get), Some(1000));
        assert_eq!(chunk(1_500_000, true).ok().flatten().map(NonZeroUsize::get), Some(500));
        assert_eq!(chunk(1_064_000, true).ok().flatten().map(NonZeroUsize::get), Some(64));
        for (budget, divisible, expected) in [(1_063_999, true, 1_064_000), (2_999_999, false, 3_000_000)] {
            let refused = chunk(budget, divisible);
            assert!(
                matches!(refused, Err(TrainError::Memory { least, .. }) if least == expected),
                "{refused:?}"
            );
        }
    }
}
