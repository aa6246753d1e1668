//! Buckets of the relative position bias of T5 and MPNet.

use crate::spec::RelativeSpec;

/// Returns the bucket of every pair `(query, key)` of positions of a text, row-major.
///
/// Keys after the query use the upper half of the buckets. In each half, the smaller distances have a bucket each; the others
/// share as many buckets of logarithmic size up to the maximum distance (T5, arXiv 1910.10683, as used by MPNet).
pub(crate) fn buckets(length: usize, spec: &RelativeSpec) -> Vec<i64> {
    let by_distance: Vec<usize> = (0..length).map(|distance| bucket(distance, spec)).collect();
    let pair = |(query, key): (usize, usize)| {
        let half = if key > query { spec.buckets / 2 } else { 0 };
        (half + by_distance.get(key.abs_diff(query)).copied().unwrap_or(0)) as i64
    };
    (0..length).flat_map(|query| (0..length).map(move |key| (query, key))).map(pair).collect()
}

/// Returns the bucket of a distance within its half.
fn bucket(distance: usize, spec: &RelativeSpec) -> usize {
    let half = spec.buckets / 2;
    let exact = half / 2;
    if distance < exact {
        return distance;
    }
    // In `f32` and in this order, as in transformers: the bucket boundaries depend on it.
    let (distance, max, exact_f) = (distance as f32, spec.max_distance as f32, exact as f32);
    let share = (distance / exact_f).ln() / (max / exact_f).ln();
    (exact + (share * (half - exact) as f32) as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_match_transformers() {
        // Results of transformers' `relative_position_bucket` for keys before the query.
        let distances = [0, 1, 7, 8, 11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 127, 128, 500];
        let expected = [0, 1, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 15, 15];
        let spec = RelativeSpec::T5;
        assert_eq!(distances.map(|distance| bucket(distance, &spec)), expected);
        assert_eq!(buckets(3, &spec), [0, 17, 18, 1, 0, 17, 2, 1, 0]);
    }
}
