//! Chance levels by permutation.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Random permutations that estimate the chance level of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutations {
    /// Number of permutations, 0 for none. The smallest possible p-value is `1 / (count + 1)`.
    pub count: usize,
    /// Seed of the permutations.
    pub seed: u64,
}

impl Default for Permutations {
    fn default() -> Self {
        Self { count: 20, seed: 0 }
    }
}

/// A measure of paired rows and its chance level, the values for randomly paired rows.
///
/// With few rows or many dimensions some measures are high for unrelated rows as well. The chance level makes values of
/// feature sets of different sizes comparable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The value of the measure.
    pub value: f64,
    /// Mean over the random pairings; `None` without permutations.
    pub chance: Option<f64>,
    /// Maximum over the random pairings.
    pub chance_max: Option<f64>,
    /// The p-value of the permutation test: the share of pairings, including the true one, whose value is at least as high.
    pub p_value: Option<f64>,
}

impl Measured {
    /// Returns `(value - chance) / (1 - chance)`, or the value itself without a chance level.
    ///
    /// # Examples
    /// ```
    /// # use sail_eval::Measured;
    /// let measured = Measured { value: 0.6, chance: Some(0.2), chance_max: Some(0.3), p_value: Some(0.05) };
    /// assert!((measured.above_chance() - 0.5).abs() < 1e-12);
    /// ```
    pub fn above_chance(&self) -> f64 {
        match self.chance {
            Some(chance) if chance < 1.0 => (self.value - chance) / (1.0 - chance),
            Some(_) => 0.0,
            None => self.value,
        }
    }
}

impl Permutations {
    /// Computes `measure` for random permutations of `rows` rows and compares `value` with the results.
    ///
    /// # Errors
    /// Those of `measure`.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::Permutations;
    /// let (a, b) = ([0, 0, 1, 1, 2, 2], [5, 5, 3, 3, 4, 4]);
    /// let agreement = |order: &[usize]| {
    ///     let b: Vec<usize> = order.iter().map(|&row| b[row]).collect();
    ///     sail_eval::adjusted_rand_index(&a, &b)
    /// };
    /// let value = agreement(&[0, 1, 2, 3, 4, 5])?;
    /// let measured = Permutations::default().test(value, a.len(), agreement)?;
    /// assert_eq!(measured.value, 1.0);
    /// assert!(measured.chance < Some(0.5));
    /// # Ok::<(), sail_eval::EvalError>(())
    /// ```
    pub fn test(
        &self,
        value: f64,
        rows: usize,
        mut measure: impl FnMut(&[usize]) -> Result<f64, EvalError>,
    ) -> Result<Measured, EvalError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut order: Vec<usize> = (0..rows).collect();
        let mut found = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            order.shuffle(&mut rng);
            found.push(measure(&order)?);
        }
        if found.is_empty() {
            return Ok(Measured { value, chance: None, chance_max: None, p_value: None });
        }
        let count = found.len() as f64;
        let at_least = found.iter().filter(|&&chance| chance >= value).count() as f64;
        Ok(Measured {
            value,
            chance: Some(found.iter().sum::<f64>() / count),
            chance_max: Some(found.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            p_value: Some((1.0 + at_least) / (1.0 + count)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_distinct_permutations() {
        let run = |seed| {
            let mut orders = Vec::new();
            let permutations = Permutations { count: 3, seed };
            let measured = permutations.test(5.0, 50, |order| {
                orders.push(order.to_vec());
                Ok([4.0, 6.0, 5.0][orders.len() - 1])
            });
            (measured.unwrap(), orders)
        };
        let (measured, orders) = run(1);
        assert_eq!((measured.chance, measured.chance_max), (Some(5.0), Some(6.0)));
        // Two random pairings and the true one are at least as high.
        assert_eq!(measured.p_value, Some(0.75));
        assert_ne!(orders[0], orders[1]);
        let mut sorted = orders[0].clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(run(1).1, orders);
        assert_ne!(run(2).1, orders);
    }

    #[test]
    fn without_permutations_there_is_no_chance_level() {
        let measured = Permutations { count: 0, seed: 0 }.test(0.3, 9, |_| Ok(1.0)).unwrap();
        assert_eq!((measured.chance, measured.above_chance()), (None, 0.3));
    }
}
