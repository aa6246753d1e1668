//! Means of independent repetitions.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::Interval;

/// The mean of independent repetitions, such as the scores of runs with several seeds, with its 95% confidence interval by
/// Student's t distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanInterval {
    /// Number of repetitions, at least 2.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with `count - 1` degrees of freedom.
    pub deviation: f64,
    /// The interval of the mean: `mean ± t deviation / sqrt(count)`.
    #[serde(flatten)]
    pub interval: Interval,
}

impl MeanInterval {
    /// Returns the mean of values, or `None` for fewer than two or one that is not finite: a single repetition has no spread.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::MeanInterval;
    /// let found = MeanInterval::of(&[24.0, 25.0, 26.0]).ok_or("too few values")?;
    /// assert_eq!((found.mean, found.deviation), (25.0, 1.0));
    /// assert!((found.half_width() - 2.484).abs() < 1e-3);
    /// assert!(MeanInterval::of(&[24.0]).is_none());
    /// # Ok::<(), &str>(())
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count < 2 || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let freedom = (count - 1) as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / freedom).sqrt();
        let quantile = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975);
        let half = quantile * deviation / (count as f64).sqrt();
        Some(Self { count, mean, deviation, interval: Interval { low: mean - half, high: mean + half } })
    }

    /// Returns half of the width of the interval.
    pub fn half_width(&self) -> f64 {
        (self.interval.high - self.interval.low) / 2.0
    }

    /// Returns whether the interval excludes 0. For differences of paired repetitions this says whether the mean difference
    /// is larger than its spread.
    pub fn excludes_zero(&self) -> bool {
        self.interval.low > 0.0 || self.interval.high < 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.t.interval(0.95, n - 1, numpy.mean(x), scipy.stats.sem(x))`
    #[test]
    fn intervals_are_those_of_scipy() {
        for (values, low, high) in [
            (&[1.0, 3.0][..], -10.706_204_736_174_694, 14.706_204_736_174_694),
            (&[20.1, 23.4, 21.0, 22.2, 19.9], 19.487_966_952_368_005, 23.152_033_047_631_996),
        ] {
            let found = MeanInterval::of(values).unwrap();
            assert!((found.interval.low - low).abs() < 1e-6, "{found:?}, expected {low}");
            assert!((found.interval.high - high).abs() < 1e-6, "{found:?}, expected {high}");
        }
        let forty: Vec<f64> = (0..40).map(f64::from).collect();
        let found = MeanInterval::of(&forty).unwrap();
        assert!((found.half_width() - 3.738_787_914_975).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn one_value_or_one_that_is_not_finite_has_no_interval() {
        assert_eq!(MeanInterval::of(&[]), None);
        assert_eq!(MeanInterval::of(&[3.0]), None);
        assert_eq!(MeanInterval::of(&[3.0, f64::NAN]), None);
        let equal = MeanInterval::of(&[3.0, 3.0]).unwrap();
        assert!(equal.half_width() == 0.0 && equal.excludes_zero());
        assert!(!MeanInterval::of(&[1.0, -1.0]).unwrap().excludes_zero());
    }
}
