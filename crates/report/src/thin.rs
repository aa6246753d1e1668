//! Downsampling of lines.

/// Keeps the first, last, lowest and highest of consecutive points in the same pixel column.
///
/// These four are drawn like all of them (Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB
/// 2014), so the size of a line is bounded by its width. Points are (x, y) in pixels and keep their order.
pub(crate) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let lowest = (0..column.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..column.len()).max_by(by_height).unwrap_or(0);
        let mut indices = [0, lowest, highest, column.len() - 1];
        indices.sort_unstable();
        let mut last = None;
        for index in indices {
            if last != Some(index) {
                kept.push(column[index]);
            }
            last = Some(index);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pixel_columns_keep_their_first_last_and_extreme_points(
            mut points in prop::collection::vec((0.0..40.0_f64, 0.0..100.0_f64), 1..400),
        ) {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let kept = thin(&points);
            prop_assert!(kept.len() <= 4 * 40);
            for pixel in 0..40 {
                let column = |of: &[(f64, f64)]| -> Vec<(f64, f64)> {
                    of.iter().copied().filter(|point| point.0 as i32 == pixel).collect()
                };
                let (all, kept) = (column(&points), column(&kept));
                prop_assert_eq!(all.first(), kept.first());
                prop_assert_eq!(all.last(), kept.last());
                let lowest = |of: &[(f64, f64)]| of.iter().map(|point| point.1).reduce(f64::min);
                let highest = |of: &[(f64, f64)]| of.iter().map(|point| point.1).reduce(f64::max);
                prop_assert_eq!(lowest(&all), lowest(&kept));
                prop_assert_eq!(highest(&all), highest(&kept));
            }
        }
    }

    #[test]
    fn points_in_different_pixel_columns_are_kept() {
        let points = [(0.5, 3.0), (1.5, 2.0), (2.5, 9.0)];
        assert_eq!(thin(&points), points);
    }
}
