//! Lines of many points, drawn with few.

/// Keeps of every run of points in one pixel column the first, the last, the lowest and the highest.
///
/// These four give the same image as all of them (Jugel et al., "M4: A Visualization-Oriented Time
/// Series Data Aggregation", VLDB 2014), so a line costs as many points as it has pixels, however long
/// the run was. Points are (x, y) in pixels and keep their order.
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
        fn every_pixel_column_keeps_its_ends_and_extremes(
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
    fn points_that_are_pixels_apart_stay() {
        let points = [(0.5, 3.0), (1.5, 2.0), (2.5, 9.0)];
        assert_eq!(thin(&points), points);
    }
}
