//! Which rows make up which batch.

use crate::permutation::stream;
use crate::{DataError, Permutation};

/// Shuffled batches with random access: any step of any epoch is computed from the seed alone, so a run
/// can resume anywhere.
///
/// Each epoch has a [`Permutation`] of its own. Rows that do not fill a last batch are left out of that
/// epoch (drop-last), other rows each time.
///
/// # Examples
/// ```
/// let sampler = sail_data::BatchSampler::new(10, 4, 42)?;
/// assert_eq!(sampler.steps_per_epoch(), 2);
/// assert_eq!(sampler.indices(0, 3), sampler.indices(1, 1));
/// # Ok::<(), sail_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSampler {
    rows: usize,
    batch: usize,
    seed: u64,
}

impl BatchSampler {
    /// Batches of `batch` out of `rows` rows.
    ///
    /// # Errors
    /// [`DataError::BatchTooSmall`] below 2, [`DataError::TooFewRows`] where the rows do not fill one batch.
    pub fn new(rows: usize, batch: usize, seed: u64) -> Result<Self, DataError> {
        if batch < 2 {
            return Err(DataError::BatchTooSmall { batch });
        }
        if rows < batch {
            return Err(DataError::TooFewRows { rows, batch });
        }
        Ok(Self { rows, batch, seed })
    }

    /// How many whole batches an epoch has, at least 1.
    pub fn steps_per_epoch(&self) -> usize {
        self.rows / self.batch
    }

    /// The rows of a batch. Steps beyond the end of the epoch run on into the next ones.
    pub fn indices(&self, epoch: u64, step: usize) -> Vec<usize> {
        let steps = self.steps_per_epoch();
        let epoch = epoch.wrapping_add((step / steps) as u64);
        let start = step % steps * self.batch;
        let order = Permutation::new(self.rows as u64, stream(self.seed, epoch));
        (start..start + self.batch).map(|position| order.get(position as u64) as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_batches() {
        // From an independent implementation in Python of what the documentation says.
        let sampler = BatchSampler::new(10, 4, 3).unwrap();
        assert_eq!([sampler.indices(0, 0), sampler.indices(0, 1)], [[0, 7, 4, 3], [8, 5, 9, 2]]);
        assert_eq!([sampler.indices(1, 0), sampler.indices(1, 1)], [[9, 1, 0, 8], [2, 4, 3, 7]]);
        assert_eq!(sampler.indices(0, 3), sampler.indices(1, 1));
    }

    #[test]
    fn impossible_batches_are_errors_with_a_remedy() {
        let error = BatchSampler::new(10, 1, 0).unwrap_err();
        assert!(matches!(error, DataError::BatchTooSmall { batch: 1 }));
        let error = BatchSampler::new(10, 11, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "10 rows do not fill a batch of 11: lower the batch size to at most 10 or add data"
        );
    }

    proptest! {
        #[test]
        fn an_epoch_shows_no_row_twice_and_drops_less_than_a_batch(
            batch in 2usize..50, more in 0usize..500, seed: u64, epoch: u64,
        ) {
            let rows = batch + more;
            let sampler = BatchSampler::new(rows, batch, seed).unwrap();
            let mut seen = vec![false; rows];
            for step in 0..sampler.steps_per_epoch() {
                let indices = sampler.indices(epoch, step);
                prop_assert_eq!(indices.len(), batch);
                for index in indices {
                    prop_assert!(!std::mem::replace(&mut seen[index], true));
                }
            }
            prop_assert!(seen.iter().filter(|seen| !**seen).count() < batch);
        }
    }
}
