//! The distribution of similarities, as numbers and as a chart.

use sail_vl::report::{LineChart, Table};
use sail_vl::search::curation::quantile;
use serde::Serialize;

/// Intervals of the chart.
const BINS: usize = 60;

/// Quantiles of similarities.
#[derive(Serialize)]
pub(crate) struct Distribution {
    pub(crate) mean: f64,
    /// Pairs of a share, 0 to 1, and the value that this share of all values does not exceed.
    pub(crate) quantiles: Vec<(f64, f64)>,
}

impl Distribution {
    /// Describes values; `None` if there are none.
    pub(crate) fn new(values: &[f32]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        let shares = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
        let quantiles = shares.iter().map(|&share| Some((share, quantile(&sorted, share)?)));
        let sum: f64 = values.iter().copied().map(f64::from).sum();
        Some(Self { mean: sum / values.len() as f64, quantiles: quantiles.collect::<Option<_>>()? })
    }
}

/// Builds a table with a column of quantiles for each named distribution.
pub(crate) fn table(distributions: &[(&str, &Distribution)]) -> Table {
    let names = distributions.iter().map(|(name, _)| *name);
    let mut table = Table::new(["quantile"].into_iter().chain(names));
    let rows = distributions.first().map_or(0, |(_, first)| first.quantiles.len());
    for row in 0..rows {
        let share = distributions[0].1.quantiles[row].0;
        let values = distributions.iter().map(|(_, of)| format!("{:.4}", of.quantiles[row].1));
        table = table.row([format!("{:.0} %", 100.0 * share)].into_iter().chain(values));
    }
    table
}

/// Draws the densities of named sets of similarities over the same intervals.
pub(crate) fn chart(title: &str, sets: &[(&str, &[f32])]) -> LineChart {
    let all = || sets.iter().flat_map(|(_, values)| values.iter().copied().map(f64::from));
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    let width = ((high - low) / BINS as f64).max(1e-6);
    let mut chart = LineChart::new(title, "cosine", "density");
    for (name, values) in sets.iter().filter(|(_, values)| !values.is_empty()) {
        let mut counts = [0usize; BINS];
        for &value in *values {
            counts[(((f64::from(value) - low) / width) as usize).min(BINS - 1)] += 1;
        }
        let density = |count: usize| count as f64 / (values.len() as f64 * width);
        let center = |bin: usize| low + (bin as f64 + 0.5) * width;
        let points = counts.iter().enumerate().map(|(bin, &count)| (center(bin), density(count)));
        chart = chart.series(*name, points.collect::<Vec<_>>());
    }
    chart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_values() {
        let of = Distribution::new(&[0.5, 0.0, 1.0]).unwrap();
        assert_eq!(
            (of.mean, of.quantiles[0], of.quantiles[5], of.quantiles[10]),
            (0.5, (0.0, 0.0), (0.5, 0.5), (1.0, 1.0))
        );
        assert!(Distribution::new(&[]).is_none());
    }
}
