//! Axes of charts: from values to positions, with round ticks.

use crate::number::{exponent_of, plain, power_of_ten, significant};

/// Maximum magnitude of values that are drawn. Differences of larger values could overflow.
pub(crate) const LIMIT: f64 = 1e150;

/// A chart axis: a range of values and the ticks within it.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Bounds of the range, or their logarithms on a logarithmic axis; `low < high`.
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Values and labels, in ascending order.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Creates a linear axis over drawable `values` with up to `count + 1` ticks; `None` without values.
    ///
    /// With `whole`, ticks are integers; with `rounded`, the range is extended to the outer ticks.
    pub(crate) fn linear(
        values: impl Iterator<Item = f64>,
        count: usize,
        whole: bool,
        rounded: bool,
    ) -> Option<Self> {
        let (mut low, mut high) = range(values)?;
        let mut step = Step::over(high - low, count);
        if whole {
            step = step.at_least_one();
        }
        if rounded {
            (low, high) = (step.times((low / step.size()).floor()), step.times((high / step.size()).ceil()));
        }
        Some(Self { low, high, logarithmic: false, ticks: step.ticks(low, high) })
    }

    /// Creates a logarithmic axis over drawable, positive `values`.
    ///
    /// Ticks are 1, 2 and 5 times the powers of ten, or powers of ten if these would be too many, or equal steps if there
    /// are fewer than three of the former.
    pub(crate) fn logarithmic(values: impl Iterator<Item = f64>, count: usize) -> Option<Self> {
        let (low, high) = range(values.map(f64::log10))?;
        let margin = 0.03 * (high - low);
        let (low, high) = (low - margin, high + margin);
        let (from, to) = (10f64.powf(low), 10f64.powf(high));
        let (first, last) = (low.floor() as i32, high.floor() as i32);
        let series = (first..=last)
            .flat_map(|exponent| [1.0, 2.0, 5.0].map(|mantissa| Step { mantissa, exponent }.size()))
            .filter(|value| (from..=to).contains(value));
        let series: Vec<f64> = series.collect();
        // At least five steps, so that at least two ticks are inside.
        let count = count.max(5);
        let labelled = |value: f64| (value, significant(value));
        let ticks = if series.len() >= 2 * count {
            let exponents = Step::over(high - low, count).at_least_one().values(low, high);
            exponents.into_iter().map(|exponent| labelled(10f64.powf(exponent))).collect()
        } else if series.len() >= 3 {
            series.into_iter().map(labelled).collect()
        } else {
            Step::over(to - from, count).ticks(from, to)
        };
        Some(Self { low, high, logarithmic: true, ticks })
    }

    /// Returns the position of `value`, 0 at the low end and 1 at the high end.
    pub(crate) fn position(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    /// Returns true if `value` can be drawn.
    pub(crate) fn draws(value: f64, logarithmic: bool) -> bool {
        value.abs() <= LIMIT && (!logarithmic || value >= 1.0 / LIMIT)
    }
}

/// The range of values, extended by a tenth if all are (nearly) equal.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
        Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    });
    let (low, high) = ends?;
    let size = low.abs().max(high.abs());
    if high - low > 1e-9 * size && high - low > 1.0 / LIMIT {
        return Some((low, high));
    }
    let half = if size > 1.0 / LIMIT { 0.1 * size } else { 1.0 };
    Some((low - half, high + half))
}

/// The distance between ticks: 1, 2 or 5 times a power of ten.
#[derive(Clone, Copy, Debug)]
struct Step {
    mantissa: f64,
    exponent: i32,
}

impl Step {
    /// Returns the smallest round step that fits at most `count` times into `span`.
    fn over(span: f64, count: usize) -> Self {
        let raw = span / count.max(1) as f64;
        // One less, because the logarithm may be rounded up.
        let exponent = raw.log10().floor() as i32 - 1;
        let steps = (exponent..exponent + 4)
            .flat_map(|exponent| [1.0, 2.0, 5.0].map(|mantissa| Self { mantissa, exponent }));
        // With a tolerance, so that a span of 1 has ten steps of 0.1.
        let fits = |step: &Self| step.size() >= raw * (1.0 - 1e-9);
        steps.into_iter().find(fits).unwrap_or(Self { mantissa: 1.0, exponent: exponent + 4 })
    }

    fn at_least_one(self) -> Self {
        if self.exponent < 0 { Self { mantissa: 1.0, exponent: 0 } } else { self }
    }

    fn size(self) -> f64 {
        self.times(1.0)
    }

    /// Returns `index` steps, without the rounding error of a product with 0.1.
    fn times(self, index: f64) -> f64 {
        let power = 10f64.powi(self.exponent.abs());
        if self.exponent < 0 { index * self.mantissa / power } else { index * self.mantissa * power }
    }

    /// The multiples of the step from `low` to `high`.
    fn values(self, low: f64, high: f64) -> Vec<f64> {
        let slack = 1e-9;
        let first = (low / self.size() - slack).ceil();
        let last = (high / self.size() + slack).floor();
        // Adding zero turns a negative zero into zero.
        (0..=(last - first).max(-1.0) as i64).map(|index| self.times(first + index as f64) + 0.0).collect()
    }

    fn ticks(self, low: f64, high: f64) -> Vec<(f64, String)> {
        let values = self.values(low, high);
        let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let scientific = largest >= 1e6 || self.exponent < -4;
        let label = |value: f64| {
            if scientific && value == 0.0 {
                "0".to_owned()
            } else if scientific {
                let digits = (exponent_of(value) - self.exponent).max(0) as usize;
                power_of_ten(value, digits)
            } else {
                plain(value, (-self.exponent).max(0) as usize)
            }
        };
        values.into_iter().map(|value| (value, label(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = |low, high, whole| Axis::linear([low, high].into_iter(), 5, whole, false).unwrap();
        assert_eq!(labels(&linear(0.0, 1.0, false)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&linear(-3.0, 7.0, false)), ["−2", "0", "2", "4", "6"]);
        assert_eq!(labels(&linear(1.0, 3.0, true)), ["1", "2", "3"]);
        assert_eq!(
            labels(&linear(0.0, 50_000.0, false)),
            ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]
        );
        assert_eq!(labels(&linear(0.0, 1e-5, false)), ["0", "2×10⁻⁶", "4×10⁻⁶", "6×10⁻⁶", "8×10⁻⁶", "10⁻⁵"]);
        let logarithmic = |low, high| Axis::logarithmic([low, high].into_iter(), 5).unwrap();
        assert_eq!(labels(&logarithmic(1e-3, 10.0)), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&logarithmic(0.03, 0.9)), ["0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(labels(&logarithmic(0.31, 0.36)), ["0.32", "0.34", "0.36"]);
        assert_eq!(labels(&logarithmic(1e-9, 1e9)), ["10⁻⁵", "1", "100,000"]);
    }

    #[test]
    fn a_single_value_has_margins() {
        for value in [0.0, 3.0, -1e-200, 1e150] {
            let axis = Axis::linear([value].into_iter(), 5, false, true).unwrap();
            let position = axis.position(value);
            assert!(0.0 < position && position < 1.0, "{value}: {position}");
        }
        assert!(Axis::linear(std::iter::empty(), 5, false, false).is_none());
    }

    /// Drawable values of all magnitudes.
    fn value() -> impl Strategy<Value = f64> {
        (-1.0..1.0_f64, -149..149_i32).prop_map(|(mantissa, exponent)| mantissa * 10f64.powi(exponent))
    }

    proptest! {
        #[test]
        fn linear_ticks_are_round_even_inside_and_distinct(a in value(), b in value(), count in 5..12_usize) {
            let axis = Axis::linear([a, b].into_iter(), count, false, false).unwrap();
            let ticks: Vec<f64> = axis.ticks.iter().map(|(value, _)| *value).collect();
            prop_assert!((2..=count + 1).contains(&ticks.len()), "{ticks:?}");
            let step = ticks[1] - ticks[0];
            let mantissa = step / 10f64.powf(step.log10().floor());
            let round = [1.0, 2.0, 5.0, 10.0].iter().any(|round| (mantissa - round).abs() < 1e-4);
            prop_assert!(round, "a step of {step}");
            for pair in ticks.windows(2) {
                prop_assert!((pair[1] - pair[0] - step).abs() <= 1e-4 * step);
            }
            for tick in &ticks {
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&axis.position(*tick)));
                prop_assert!((tick / step - (tick / step).round()).abs() < 1e-4 * (tick / step).abs().max(1.0));
            }
            let distinct: std::collections::BTreeSet<&str> = labels(&axis).into_iter().collect();
            prop_assert_eq!(distinct.len(), ticks.len(), "{:?}", labels(&axis));
        }

        #[test]
        fn a_rounded_axis_contains_its_values_between_the_outer_ticks(a in value(), b in value()) {
            let axis = Axis::linear([a, b].into_iter(), 5, false, true).unwrap();
            let (first, last) = (axis.ticks[0].0, axis.ticks[axis.ticks.len() - 1].0);
            prop_assert!(axis.position(first).abs() < 1e-6 && (axis.position(last) - 1.0).abs() < 1e-6);
            for value in [a, b] {
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&axis.position(value)));
            }
        }

        #[test]
        fn logarithmic_ticks_ascend_inside(a in value(), b in value(), count in 3..12_usize) {
            let values = [a.abs().max(1e-149), b.abs().max(1e-149)];
            let axis = Axis::logarithmic(values.into_iter(), count).unwrap();
            prop_assert!(axis.ticks.len() >= 2, "{axis:?}");
            prop_assert!(axis.ticks.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (tick, _) in &axis.ticks {
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&axis.position(*tick)));
            }
        }
    }
}
