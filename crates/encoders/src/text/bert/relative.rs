//! MPNet's relative position bias.

/// Buckets that distances fall into, half for each direction.
pub(crate) const BUCKETS: usize = 32;
/// The distance from which on all share the last bucket.
const FARTHEST: f32 = 128.0;

/// The bucket of every pair of positions of a text, row by row: of `length * length` pairs `(query, key)`.
///
/// Keys after the query have the upper half of the buckets. In each half, distances below 8 have a bucket of their
/// own, the rest share eight of logarithmic size up to 128 (T5, arXiv 1910.10683, as MPNet uses it).
pub(crate) fn buckets(length: usize) -> Vec<i64> {
    let by_distance: Vec<usize> = (0..length).map(bucket).collect();
    let pair = |(query, key): (usize, usize)| {
        let half = if key > query { BUCKETS / 2 } else { 0 };
        (half + by_distance.get(key.abs_diff(query)).copied().unwrap_or(0)) as i64
    };
    (0..length).flat_map(|query| (0..length).map(move |key| (query, key))).map(pair).collect()
}

/// The bucket of a distance within its half.
fn bucket(distance: usize) -> usize {
    let half = BUCKETS / 2;
    let exact = half / 2;
    if distance < exact {
        return distance;
    }
    // In f32 and in this order, as the reference computes it: the edges of the buckets depend on it.
    let share = (distance as f32 / exact as f32).ln() / (FARTHEST / exact as f32).ln();
    (exact + (share * (half - exact) as f32) as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_the_distance() {
        // What transformers' `relative_position_bucket` gives for keys before the query at these distances.
        let distances = [0, 1, 7, 8, 11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 127, 128, 500];
        let expected = [0, 1, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 15, 15];
        assert_eq!(distances.map(bucket), expected);
        assert_eq!(buckets(3), [0, 17, 18, 1, 0, 17, 2, 1, 0]);
    }
}
