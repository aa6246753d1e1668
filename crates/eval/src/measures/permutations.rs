//! Permutation tests of paired rows.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sail_core::ConfigError;

use super::calibration::{Measured, check_level};
use crate::EvalError;

/// Random permutations of rows, which turn paired rows into unrelated ones.
///
/// The permutations are a function of the seed and the number of rows. Measures of the same rows by several encoders, layers
/// or measures therefore see the same permutations, and [`Measured::maximum`] and [`Differences`](crate::Differences) may
/// compare their values permutation by permutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutations {
    /// Number of permutations, 0 for none. The smallest possible p-value is `1 / (count + 1)`.
    pub count: usize,
    /// Seed of the permutations.
    pub seed: u64,
}

impl Permutations {
    /// No permutations: measures have a value only.
    pub const NONE: Self = Self { count: 0, seed: 0 };
}

impl Default for Permutations {
    /// Returns the 200 permutations of the paper (arXiv 2602.14486), with seed 0.
    fn default() -> Self {
        Self { count: 200, seed: 0 }
    }
}

impl Permutations {
    /// Fails for a significance level `alpha` that is not between 0 and 1, or that so few permutations cannot reach: some, but
    /// fewer than `1 / alpha - 1`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check_level(&self, alpha: f64) -> Result<(), ConfigError> {
        check_level(self.count, alpha)
    }

    /// Returns `measure` for each permutation of `rows` rows, in their order.
    ///
    /// # Errors
    /// The first error of `measure`.
    pub fn each<T, E>(
        &self,
        rows: usize,
        mut measure: impl FnMut(&[usize]) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut order: Vec<usize> = (0..rows).collect();
        let mut permuted = || {
            order.shuffle(&mut rng);
            measure(&order)
        };
        (0..self.count).map(|_| permuted()).collect()
    }

    /// Returns `value` with the values of `measure` for random permutations of `rows` rows.
    ///
    /// # Errors
    /// Those of `measure`, and [`EvalError::Undefined`] for a value that is not finite.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::Permutations;
    /// let (a, b) = ([0, 0, 1, 1, 2, 2, 3, 3], [5, 5, 3, 3, 4, 4, 6, 6]);
    /// let agreement = |order: &[usize]| {
    ///     let b: Vec<usize> = order.iter().map(|&row| b[row]).collect();
    ///     sail_eval::adjusted_rand_index(&a, &b)
    /// };
    /// let value = agreement(&[0, 1, 2, 3, 4, 5, 6, 7])?;
    /// let found = Permutations::default().test(value, a.len(), agreement)?.calibrate(0.05, 1.0)?;
    /// assert_eq!(found.value, 1.0);
    /// assert!(found.p_value < Some(0.05));
    /// # Ok::<(), sail_eval::EvalError>(())
    /// ```
    pub fn test(
        &self,
        value: f64,
        rows: usize,
        measure: impl FnMut(&[usize]) -> Result<f64, EvalError>,
    ) -> Result<Measured, EvalError> {
        Measured { value, null: self.each(rows, measure)? }.finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_and_the_number_of_rows_determine_distinct_permutations() {
        let run = |seed| {
            let permutations = Permutations { count: 3, seed };
            permutations.each(50, |order| Ok::<_, EvalError>(order.to_vec())).unwrap()
        };
        let orders = run(1);
        assert_ne!(orders[0], orders[1]);
        let mut sorted = orders[0].clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(run(1), orders);
        assert_ne!(run(2), orders);
        // More permutations begin with the same ones.
        let more = Permutations { count: 5, seed: 1 }.each(50, |order| Ok::<_, EvalError>(order.to_vec()));
        assert_eq!(more.unwrap()[..3], orders);
    }

    #[test]
    fn a_measure_that_is_not_a_number_is_an_error() {
        let permutations = Permutations { count: 2, seed: 0 };
        for (value, null) in [(f64::NAN, 0.0), (0.0, f64::NAN), (f64::INFINITY, 0.0)] {
            let found = permutations.test(value, 9, |_| Ok(null));
            assert!(matches!(found, Err(EvalError::Undefined { .. })), "{found:?}");
        }
    }
}
