//! Sampling of batches.

use crate::permutation::stream;
use crate::{DataError, Permutation};

/// Shuffled batches with random access: every step of every epoch is a function of the seed, so a run can resume
/// anywhere.
///
/// Each epoch has its own [`Permutation`]. The rows of an incomplete last batch are dropped (drop-last); they differ
/// between epochs.
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
    /// Creates a sampler of batches of `batch` out of `rows` rows.
    ///
    /// # Errors
    /// [`DataError::BatchTooSmall`] if `batch` is below 2, [`DataError::TooFewRows`] if it is above `rows`.
    pub fn new(rows: usize, batch: usize, seed: u64) -> Result<Self, DataError> {
        if batch < 2 {
            return Err(DataError::BatchTooSmall { batch });
        }
        if rows < batch {
            return Err(DataError::TooFewRows { rows, batch });
        }
        Ok(Self { rows, batch, seed })
    }

    /// Returns the sampler of the same number of batches in the order of another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Returns the number of batches in an epoch, at least 1.
    pub fn steps_per_epoch(&self) -> usize {
        self.rows / self.batch
    }

    /// Returns the row indices of a batch. Steps after the end of the epoch continue in the next epochs.
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
        // From an independent implementation in Python, after the documentation.
        let sampler = BatchSampler::new(10, 4, 3).unwrap();
        assert_eq!([sampler.indices(0, 0), sampler.indices(0, 1)], [[0, 7, 4, 3], [8, 5, 9, 2]]);
        assert_eq!([sampler.indices(1, 0), sampler.indices(1, 1)], [[9, 1, 0, 8], [2, 4, 3, 7]]);
        assert_eq!(sampler.indices(0, 3), sampler.indices(1, 1));
        assert_eq!(sampler.with_seed(9), BatchSampler::new(10, 4, 9).unwrap());
    }

    #[test]
    fn rejects_invalid_batch_sizes() {
        let error = BatchSampler::new(10, 1, 0).unwrap_err();
        assert!(matches!(error, DataError::BatchTooSmall { batch: 1 }));
        let error = BatchSampler::new(10, 11, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a batch of 11 is larger than the 10 rows: choose a smaller batch size or add data"
        );
        let error = BatchSampler::new(1, 11, 0).unwrap_err().to_string();
        assert!(error.starts_with("a batch needs at least 2 rows, found 1"), "{error}");
    }

    proptest! {
        #[test]
        fn an_epoch_has_no_duplicates_and_drops_less_than_a_batch(
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
