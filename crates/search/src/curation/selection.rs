//! Which scores are high enough.

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

/// Which of a list of scores are kept, all of them finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The scores that are at least this.
    Threshold(f32),
    /// The scores that are at least a quantile of all scores, 0 to 1: 0.7 keeps the best 30 %.
    Quantile(f64),
    /// The highest scores, this many, and of equal ones the first.
    Count(usize),
}

impl Check for Selection {
    fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Threshold(value) => ensure(value.is_finite(), "threshold", value, "a finite number"),
            Self::Quantile(value) => {
                ensure((0.0..=1.0).contains(&value), "quantile", value, "a number from 0 to 1")
            }
            Self::Count(count) => ensure(count > 0, "count", count, "at least 1"),
        }
    }
}

impl Selection {
    /// Returns the indices of the scores that are kept, in order.
    ///
    /// # Errors
    /// [`ConfigError`] for a quantile out of range, a threshold that is not finite, and a count of 0.
    ///
    /// # Examples
    /// ```
    /// use sail_search::curation::Selection;
    /// let scores = [0.3, 0.1, 0.2, 0.3];
    /// assert_eq!(Selection::Threshold(0.2).select(&scores)?, [0, 2, 3]);
    /// assert_eq!(Selection::Quantile(0.5).select(&scores)?, [0, 3]);
    /// assert_eq!(Selection::Count(1).select(&scores)?, [0]);
    /// # Ok::<(), sail_core::ConfigError>(())
    /// ```
    pub fn select(&self, scores: &[f32]) -> Result<Vec<usize>, ConfigError> {
        self.check()?;
        let at_least = |least: f64| {
            let kept = scores.iter().enumerate().filter(move |(_, score)| f64::from(**score) >= least);
            kept.map(|(index, _)| index).collect()
        };
        Ok(match *self {
            Self::Threshold(least) => at_least(least.into()),
            Self::Quantile(share) => {
                let mut sorted = scores.to_vec();
                sorted.sort_by(f32::total_cmp);
                at_least(quantile(&sorted, share).unwrap_or(f64::INFINITY))
            }
            Self::Count(count) => {
                let mut order: Vec<usize> = (0..scores.len()).collect();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                order.truncate(count);
                order.sort_unstable();
                order
            }
        })
    }
}

/// Returns a quantile of sorted values, 0 to 1, with linear interpolation between two values as in NumPy; `None` without
/// values.
///
/// # Examples
/// ```
/// assert_eq!(sail_search::curation::quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
/// ```
#[must_use]
pub fn quantile(sorted: &[f32], share: f64) -> Option<f64> {
    let position = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    let value = |index: usize| sorted.get(index).copied().map(f64::from);
    Some(value(low)? + (value(high)? - value(low)?) * (position - low as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_keep_the_best_in_order() {
        let scores = [0.5, -0.25, 0.75, 0.5, 0.0];
        let select = |selection: Selection| selection.select(&scores).unwrap();
        assert_eq!(select(Selection::Threshold(0.5)), [0, 2, 3]);
        assert_eq!(select(Selection::Threshold(1.0)), [0; 0]);
        assert_eq!(select(Selection::Quantile(0.0)), [0, 1, 2, 3, 4]);
        assert_eq!(select(Selection::Quantile(1.0)), [2]);
        assert_eq!(select(Selection::Count(2)), [0, 2]);
        assert_eq!(select(Selection::Count(9)), [0, 1, 2, 3, 4]);
        assert_eq!(Selection::Quantile(0.5).select(&[]).unwrap(), [0; 0]);
        for invalid in [Selection::Threshold(f32::NAN), Selection::Quantile(1.5), Selection::Count(0)] {
            assert!(invalid.select(&scores).is_err());
        }
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([-1, 0, 0.5, 3], q)
        let sorted = [-1.0, 0.0, 0.5, 3.0];
        for (share, expected) in [(0.0, -1.0), (0.1, -0.7), (0.5, 0.25), (0.9, 2.25), (1.0, 3.0)] {
            assert!((quantile(&sorted, share).unwrap() - expected).abs() < 1e-12, "{share}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }
}
