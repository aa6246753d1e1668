//! Values of measures against those of unrelated rows.

use sail_core::{ConfigError, ensure};
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// The value of a measure of paired rows, and its values for randomly paired rows: the null distribution.
///
/// With few rows or many dimensions some measures are high for unrelated rows as well, and the highest of many values is high
/// by selection. [`calibrate`](Measured::calibrate) puts both right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The value for the true pairing.
    pub value: f64,
    /// The value for each permutation, in the order of the [`Permutations`](crate::Permutations).
    pub null: Vec<f64>,
}

/// A value of a measure beside what chance makes of it: null calibration (Gröger et al. 2026, arXiv 2602.14486).
///
/// All but the value are `None` without permutations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// The value of the measure.
    pub value: f64,
    /// Mean over the random pairings.
    pub chance: Option<f64>,
    /// Maximum over the random pairings.
    pub chance_max: Option<f64>,
    /// The critical value `tau`, at most a share `alpha` of the pairings is above: the `ceil((1 - alpha)(K + 1))`-th smallest
    /// of the values for `K` random pairings and the true one. Results of earlier versions have none.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// The calibrated score `(value - tau) / (max - tau)`, limited to 0 to 1: 0 for no more than chance, 1 for the highest
    /// possible value. Results of earlier versions have none.
    #[serde(default)]
    pub score: Option<f64>,
    /// The p-value of the permutation test: the share of the pairings, including the true one, whose value is at least as high.
    pub p_value: Option<f64>,
}

impl Measured {
    /// Calibrates the value at the significance level `alpha`. `max` is the highest possible value, 1 for most measures.
    ///
    /// # Errors
    /// [`EvalError::Config`] if `alpha` is not between 0 and 1, or if the permutations are so few that no value could be
    /// significant, fewer than `1 / alpha - 1`. [`EvalError::Undefined`] for values that are not finite.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::Measured;
    /// let null = (0..99).map(|k| 0.002 * f64::from(k)).collect();
    /// let found = Measured { value: 0.6, null }.calibrate(0.05, 1.0)?;
    /// // The 95th of 100 values.
    /// assert_eq!(found.threshold, Some(0.188));
    /// assert!((found.score.unwrap_or_default() - (0.6 - 0.188) / (1.0 - 0.188)).abs() < 1e-12);
    /// assert_eq!(found.p_value, Some(0.01));
    /// # Ok::<(), sail_eval::EvalError>(())
    /// ```
    pub fn calibrate(&self, alpha: f64, max: f64) -> Result<Calibrated, EvalError> {
        check_level(self.null.len(), alpha)?;
        let Self { value, null } = self.clone().finite()?;
        if null.is_empty() {
            let none = None;
            return Ok(Calibrated {
                value,
                chance: none,
                chance_max: none,
                threshold: none,
                score: none,
                p_value: none,
            });
        }
        let threshold = critical_value(value, &null, alpha);
        Ok(Calibrated {
            value,
            chance: Some(null.iter().sum::<f64>() / null.len() as f64),
            chance_max: Some(null.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            threshold: Some(threshold),
            score: Some(((value - threshold) / (max - threshold).max(1e-12)).clamp(0.0, 1.0)),
            p_value: Some(p_value(value, &null)),
        })
    }

    /// Returns the index of the highest value, the first of several, and the measure "highest value": its null distribution is
    /// that of the highest value of each permutation, so calibrating it accounts for the search. `None` without values.
    ///
    /// # Errors
    /// [`EvalError::Length`] for measures with different numbers of permutations, [`EvalError::Undefined`] for values that are
    /// not finite.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::Measured;
    /// let layers = [
    ///     Measured { value: 0.2, null: vec![0.1, 0.3] },
    ///     Measured { value: 0.4, null: vec![0.2, 0.1] },
    /// ];
    /// let found = Measured::maximum(&layers)?;
    /// assert_eq!(found, Some((1, Measured { value: 0.4, null: vec![0.2, 0.3] })));
    /// # Ok::<(), sail_eval::EvalError>(())
    /// ```
    pub fn maximum<'a>(of: impl IntoIterator<Item = &'a Self>) -> Result<Option<(usize, Self)>, EvalError> {
        let mut highest: Option<(usize, Self)> = None;
        for (index, measured) in of.into_iter().enumerate() {
            let measured = measured.clone().finite()?;
            let Some((best, maximum)) = &mut highest else {
                highest = Some((index, measured));
                continue;
            };
            check_same_length(&measured.null, &maximum.null)?;
            for (maximum, value) in maximum.null.iter_mut().zip(&measured.null) {
                *maximum = maximum.max(*value);
            }
            if measured.value > maximum.value {
                (*best, maximum.value) = (index, measured.value);
            }
        }
        Ok(highest)
    }

    /// Returns the measure if all its values are finite.
    pub(crate) fn finite(self) -> Result<Self, EvalError> {
        let undefined = self.null.iter().copied().chain([self.value]).find(|value| !value.is_finite());
        undefined.map_or(Ok(self), |value| Err(EvalError::Undefined { value }))
    }
}

impl Calibrated {
    /// Returns whether the value is above the critical value; `None` without one.
    pub fn is_above_chance(&self) -> Option<bool> {
        self.threshold.map(|threshold| self.value > threshold)
    }
}

/// Fails for a level that is not between 0 and 1, or that so few permutations cannot reach.
pub(super) fn check_level(permutations: usize, alpha: f64) -> Result<(), ConfigError> {
    ensure(alpha > 0.0 && alpha < 1.0, "alpha", alpha, "above 0 and below 1")?;
    let least = (1.0 / alpha - 1.0 - 1e-9).ceil().max(1.0);
    let enough = permutations == 0 || permutations as f64 >= least;
    let expected = format_args!("0 for none, or at least {least}: fewer cannot reach an alpha of {alpha}");
    ensure(enough, "permutations", permutations, expected)
}

/// The share of pairings with at least this value.
pub(super) fn p_value(value: f64, null: &[f64]) -> f64 {
    let at_least = null.iter().filter(|&&found| found >= value).count();
    (1 + at_least) as f64 / (null.len() + 1) as f64
}

/// The `ceil((1 - alpha)(K + 1))`-th smallest of `value` and the `K` values of `null`.
fn critical_value(value: f64, null: &[f64], alpha: f64) -> f64 {
    let mut all: Vec<f64> = null.iter().copied().chain([value]).collect();
    // Rounding of the product must not lift a whole number.
    let rank = ((1.0 - alpha) * all.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    let index = (rank - 1).min(all.len() - 1);
    *all.select_nth_unstable_by(index, f64::total_cmp).1
}

pub(super) fn check_same_length(found: &[f64], expected: &[f64]) -> Result<(), EvalError> {
    if found.len() == expected.len() {
        return Ok(());
    }
    let (found, expected) = (found.len(), expected.len());
    Err(EvalError::Length { what: "values", found, expected, of: "permutation" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: f64, null: impl Into<Vec<f64>>) -> Measured {
        Measured { value, null: null.into() }
    }

    #[test]
    fn ties_count_as_at_least_as_high() {
        // Two random pairings and the true one.
        let found = measured(5.0, [4.0, 6.0, 5.0]).calibrate(0.5, 10.0).unwrap();
        assert_eq!((found.chance, found.chance_max, found.p_value), (Some(5.0), Some(6.0), Some(0.75)));
        // The second of 4, 5, 5 and 6.
        assert_eq!((found.threshold, found.score), (Some(5.0), Some(0.0)));
        assert_eq!(found.is_above_chance(), Some(false));
    }

    #[test]
    fn a_score_above_zero_and_a_p_value_of_at_most_alpha_are_the_same() {
        for count in [19, 20, 99, 200] {
            let null: Vec<f64> = (0..count).map(|k| f64::from(k * 7919 % 1009) / 2000.0).collect();
            for alpha in [0.05, 0.1, 0.3] {
                for value in (0..40).map(|step| f64::from(step) / 60.0 + 1e-5) {
                    let found = measured(value, null.clone()).calibrate(alpha, 1.0).unwrap();
                    let significant = found.p_value.unwrap() <= alpha + 1e-12;
                    assert_eq!(found.score.unwrap() > 0.0, significant, "{found:?} {alpha}");
                    assert_eq!(found.is_above_chance(), Some(significant));
                }
            }
        }
    }

    #[test]
    fn a_level_that_the_permutations_cannot_reach_is_an_error() {
        let calibrate = |count, alpha| measured(1.0, vec![0.0; count]).calibrate(alpha, 1.0);
        assert!(calibrate(19, 0.05).is_ok() && calibrate(999, 0.001).is_ok());
        for (count, alpha) in [(18, 0.05), (19, 0.04), (0, 0.0), (20, 1.0), (20, f64::NAN)] {
            let error = calibrate(count, alpha).unwrap_err();
            assert!(matches!(error, EvalError::Config(_)), "{error}");
        }
    }

    #[test]
    fn without_permutations_there_is_only_a_value() {
        let found = measured(0.3, []).calibrate(0.05, 1.0).unwrap();
        assert_eq!(
            (found.value, found.score, found.p_value, found.is_above_chance()),
            (0.3, None, None, None)
        );
    }

    #[test]
    fn results_of_earlier_versions_are_read() {
        let json = r#"{"value":0.5,"chance":0.1,"chance_max":0.2,"p_value":0.25}"#;
        let found: Calibrated = serde_json::from_str(json).unwrap();
        assert_eq!(
            (found.value, found.chance, found.p_value, found.score),
            (0.5, Some(0.1), Some(0.25), None)
        );
    }

    #[test]
    fn a_maximum_needs_the_same_permutations() {
        assert_eq!(Measured::maximum([]).unwrap(), None);
        let (a, b) = (measured(1.0, [0.0, 0.5]), measured(2.0, [0.0]));
        assert!(matches!(Measured::maximum([&a, &b]), Err(EvalError::Length { found: 1, expected: 2, .. })));
        let undefined = measured(f64::NAN, [0.0, 0.5]);
        assert!(matches!(Measured::maximum([&a, &undefined]), Err(EvalError::Undefined { .. })));
    }
}
