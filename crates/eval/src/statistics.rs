//! Correlations and bootstrap intervals.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use sail_core::ensure;
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Returns the Pearson correlation of paired values, in -1 to 1; `None` for fewer than two pairs, lists of different
/// lengths, or if the values of one list are all equal.
///
/// # Examples
/// ```
/// use sail_eval::pearson;
/// assert!((pearson(&[1.0, 2.0, 4.0], &[3.0, 5.0, 9.0]).unwrap_or_default() - 1.0).abs() < 1e-12);
/// assert_eq!(pearson(&[1.0, 1.0], &[3.0, 5.0]), None);
/// ```
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let product = |a: &[f64], ma: f64, b: &[f64], mb: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum()
    };
    let (xx, yy) = (product(x, mx, x, mx), product(y, my, y, my));
    // The sum of squares of equal values is rounding error.
    let rounding = |mean: f64| x.len() as f64 * (1e-14 * mean).powi(2);
    if !(xx > rounding(mx) && yy > rounding(my)) {
        return None;
    }
    Some((product(x, mx, y, my) / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Returns Spearman's rank correlation: the Pearson correlation of the ranks, where equal values have their mean rank.
/// `None` as for [`pearson`], and if a value is NaN.
///
/// # Examples
/// ```
/// use sail_eval::spearman;
/// assert!(spearman(&[1.0, 2.0, 3.0], &[1.0, 10.0, 1000.0]) > Some(0.999_999));
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.iter().chain(y).any(|value| value.is_nan()) {
        return None;
    }
    pearson(&ranks(x), &ranks(y))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = start as f64 + (equal.len() as f64 + 1.0) / 2.0;
        for &index in equal {
            ranks[index] = mean;
        }
        start += equal.len();
    }
    ranks
}

/// A 95% confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bound: the 2.5th percentile.
    pub low: f64,
    /// Upper bound: the 97.5th percentile.
    pub high: f64,
}

/// The percentile bootstrap (Efron 1979).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of samples; at least 1.
    pub resamples: usize,
    /// Seed of the samples.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0 }
    }
}

impl Bootstrap {
    /// Draws samples of `rows` of `rows` indices with replacement, and returns the statistic of each sample.
    ///
    /// # Errors
    /// [`EvalError::Empty`] without rows, [`EvalError::Config`] without resamples.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::{Bootstrap, Interval};
    /// let hits = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0];
    /// let mean = |sample: &[usize]| sample.iter().map(|&row| hits[row]).sum::<f64>() / hits.len() as f64;
    /// let interval = Interval::of(Bootstrap::default().samples(hits.len(), mean)?).ok_or("no sample")?;
    /// assert!(interval.low < 0.625 && 0.625 < interval.high);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn samples<T: Send>(
        &self,
        rows: usize,
        statistic: impl Fn(&[usize]) -> T + Sync,
    ) -> Result<Vec<T>, EvalError> {
        ensure(self.resamples > 0, "resamples", self.resamples, "at least 1")?;
        if rows == 0 {
            return Err(EvalError::Empty { what: "row" });
        }
        let sample = |draw: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            // One stream per sample, so the result does not depend on the number of threads.
            rng.set_stream(draw);
            // The bias of the high half of a product is below one part in 2^32.
            let mut row = || ((u128::from(rng.next_u64()) * rows as u128) >> 64) as usize;
            let sample: Vec<usize> = (0..rows).map(|_| row()).collect();
            statistic(&sample)
        };
        Ok((0..self.resamples as u64).into_par_iter().map(sample).collect())
    }
}

impl Interval {
    /// Returns the central 95% of values, with linear interpolation; `None` without values or with a NaN.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let position = share * (values.len() - 1) as f64;
            let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
            below + (above - below) * position.fract()
        };
        Some(Self { low: at(0.025), high: at(0.975) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), None);
        // scipy.stats.spearmanr([1, 2, 2, 5], [3, 1, 4, 4])
        let found = spearman(&[1.0, 2.0, 2.0, 5.0], &[3.0, 1.0, 4.0, 4.0]).unwrap();
        assert!((found - 0.5).abs() < 1e-12, "{found}");
    }

    #[test]
    fn percentiles_are_interpolated() {
        let interval = Interval::of((0..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((interval.low, interval.high), (2.5, 97.5));
        assert_eq!(Interval::of(vec![]), None);
        assert_eq!(Interval::of(vec![0.0, f64::NAN]), None);
    }

    #[test]
    fn bootstrap_intervals_have_the_standard_error() {
        let rows = 400;
        let mean = |sample: &[usize]| sample.iter().map(|&row| (row % 2) as f64).sum::<f64>() / rows as f64;
        let interval = Interval::of(Bootstrap::default().samples(rows, mean).unwrap()).unwrap();
        // 0.5 plus or minus 1.96 standard errors of 0.025.
        assert!(
            (interval.low - 0.451).abs() < 0.006 && (interval.high - 0.549).abs() < 0.006,
            "{interval:?}"
        );
        assert!(matches!(Bootstrap::default().samples(0, mean), Err(EvalError::Empty { .. })));
    }
}
