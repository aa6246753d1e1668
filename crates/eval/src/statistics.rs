//! Correlations, and how sure a number is: pure functions.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use sail_core::ensure;
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Pearson's correlation of paired values, in -1 to 1; `None` for fewer than two pairs, lists of different lengths, or
/// values of one side that are all the same.
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
    // Equal values leave a sum of squares of rounding.
    let rounding = |mean: f64| x.len() as f64 * (1e-14 * mean).powi(2);
    if !(xx > rounding(mx) && yy > rounding(my)) {
        return None;
    }
    Some((product(x, mx, y, my) / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation: Pearson's of the ranks, equal values sharing the mean of theirs. `None` as for
/// [`pearson`], and where a value is NaN.
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
        for &place in equal {
            ranks[place] = mean;
        }
        start += equal.len();
    }
    ranks
}

/// An interval that holds a value with 95% confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end: the 2.5th percentile.
    pub low: f64,
    /// Its upper end: the 97.5th percentile.
    pub high: f64,
}

/// The percentile bootstrap (Efron, 1979): how far a statistic varies over samples like the one at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// How many samples are drawn; at least 1.
    pub resamples: usize,
    /// Where they come from.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0 }
    }
}

impl Bootstrap {
    /// Draws `rows` of `rows` rows with replacement, again and again, and gives the statistics of each sample, in the
    /// order of the draws.
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
        let one = |draw: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            // A stream for each sample, so that threads do not matter.
            rng.set_stream(draw);
            // The bias of the high half of a product is below one part in 2^32.
            let mut row = || ((u128::from(rng.next_u64()) * rows as u128) >> 64) as usize;
            let sample: Vec<usize> = (0..rows).map(|_| row()).collect();
            statistic(&sample)
        };
        Ok((0..self.resamples as u64).into_par_iter().map(one).collect())
    }
}

impl Interval {
    /// The middle 95% of values, with linear interpolation between them; `None` without any, or with a NaN.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Self { low: at(0.025), high: at(0.975) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), None);
        // scipy.stats.spearmanr([1, 2, 2, 5], [3, 1, 4, 4])
        let found = spearman(&[1.0, 2.0, 2.0, 5.0], &[3.0, 1.0, 4.0, 4.0]).unwrap();
        assert!((found - 0.5).abs() < 1e-12, "{found}");
    }

    #[test]
    fn percentiles_interpolate() {
        let interval = Interval::of((0..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((interval.low, interval.high), (2.5, 97.5));
        assert_eq!(Interval::of(vec![]), None);
        assert_eq!(Interval::of(vec![0.0, f64::NAN]), None);
    }

    #[test]
    fn samples_have_the_spread_of_the_mean() {
        let rows = 400;
        let mean = |sample: &[usize]| sample.iter().map(|&row| (row % 2) as f64).sum::<f64>() / rows as f64;
        let interval = Interval::of(Bootstrap::default().samples(rows, mean).unwrap()).unwrap();
        // 1.96 standard errors of 0.025 each way.
        assert!(
            (interval.low - 0.451).abs() < 0.006 && (interval.high - 0.549).abs() < 0.006,
            "{interval:?}"
        );
        assert!(matches!(Bootstrap::default().samples(0, mean), Err(EvalError::Empty { .. })));
    }
}
