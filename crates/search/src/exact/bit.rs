//! Codes of one bit per dimension.
//!
//! A row without its [principal part](super::principal), rotated, `r`, becomes its signs `s` and the factor `f = |r|² / |r|₁`, for which `f <s, r> = |r|²`: the estimate
//! `f <s, q>` of `<r, q>` is exact for `q` in the direction of `r` and, over random rotations, unbiased for every `q`. This is
//! RaBitQ for inner products, which need one of its two factors.
//!
//! A query becomes signed integers of [`QUERY_BITS`] bits, which are split into planes of bits, so that the product with the
//! signs is a sum of counts of bits: `<s, u> = 2 <b, u> - sum(u)` for the bits `b = (s + 1) / 2`.

/// Bits of a value of a query. The error of rounding to 4 is a fifth of the error of the signs.
const QUERY_BITS: usize = 4;
/// The largest magnitude of a value of a query.
const LEVELS: f32 = ((1 << (QUERY_BITS - 1)) - 1) as f32;
/// Rows whose words are interleaved, so that a SIMD register holds the same word of all.
pub(crate) const GROUP: usize = 8;

/// The same word of the codes of a group of rows, a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Words(pub(crate) [u64; GROUP]);

impl Words {
    pub(crate) const ZERO: Self = Self([0; GROUP]);
}

/// Sets the code of a row of a group, which is zeros before, and returns its factor.
pub(crate) fn encode(rotated: &[f32], group: &mut [Words], lane: usize) -> f32 {
    let (mut square, mut magnitude) = (0.0, 0.0);
    for (word, values) in group.iter_mut().zip(rotated.chunks_exact(64)) {
        for (bit, &value) in values.iter().enumerate() {
            word.0[lane] |= u64::from(value > 0.0) << bit;
            square += f64::from(value) * f64::from(value);
            magnitude += f64::from(value.abs());
        }
    }
    // A row at the centre has no direction from it.
    if magnitude > 0.0 { (square / magnitude) as f32 } else { 0.0 }
}

/// A query for bit codes.
pub(crate) struct BitQuery {
    /// For each word, the planes of bits, the one with the sign last.
    planes: Vec<[u64; QUERY_BITS]>,
    sum: i64,
    /// The value of an integer step.
    step: f32,
}

impl BitQuery {
    pub(crate) fn new(rotated: &[f32]) -> Self {
        let largest = rotated.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        let step = if largest > 0.0 { largest / LEVELS } else { 1.0 };
        let mut planes = vec![[0; QUERY_BITS]; rotated.len() / 64];
        let mut sum = 0;
        for (planes, values) in planes.iter_mut().zip(rotated.chunks_exact(64)) {
            for (bit, value) in values.iter().enumerate() {
                let level = (value / step).round() as i64;
                sum += level;
                for (plane, word) in planes.iter_mut().enumerate() {
                    *word |= ((level >> plane) as u64 & 1) << bit;
                }
            }
        }
        Self { planes, sum, step }
    }

    /// Adds estimates of the products with the rows of whole groups to `out`. The last group may have fewer than 8.
    #[inline(always)]
    pub(crate) fn add_estimates(&self, codes: &[Words], factors: &[f32], out: &mut [f32]) {
        let groups = codes.chunks_exact(self.planes.len());
        for ((group, factors), out) in groups.zip(factors.chunks(GROUP)).zip(out.chunks_mut(GROUP)) {
            let mut sums = [0i64; GROUP];
            for (words, planes) in group.iter().zip(&self.planes) {
                let (sign, magnitudes) = (planes[QUERY_BITS - 1], &planes[..QUERY_BITS - 1]);
                for (sum, word) in sums.iter_mut().zip(&words.0) {
                    for (bit, plane) in magnitudes.iter().enumerate() {
                        *sum += i64::from((word & plane).count_ones()) << bit;
                    }
                    *sum -= i64::from((word & sign).count_ones()) << (QUERY_BITS - 1);
                }
            }
            for ((out, sum), factor) in out.iter_mut().zip(sums).zip(factors) {
                *out += (2 * sum - self.sum) as f32 * self.step * factor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(|_| next() + next() + next()).collect()
    }

    #[test]
    fn estimates_are_the_products_of_signs_and_rounded_query() {
        let (width, rows) = (192, 11usize);
        let query = values(1, width);
        let mut codes = vec![Words::ZERO; rows.div_ceil(GROUP) * width / 64];
        let (mut factors, mut expected) = (Vec::new(), Vec::new());
        let prepared = BitQuery::new(&query);
        for row in 0..rows {
            let rotated = values(row as u32 + 2, width);
            let group = &mut codes[row / GROUP * width / 64..][..width / 64];
            factors.push(encode(&rotated, group, row % GROUP));
            let square: f64 = rotated.iter().map(|&value| f64::from(value).powi(2)).sum();
            let factor = square / rotated.iter().map(|&value| f64::from(value.abs())).sum::<f64>();
            let levels = query.iter().map(|value| f64::from((value / prepared.step).round()));
            let product: f64 =
                rotated.iter().zip(levels).map(|(r, level)| f64::from(r.signum()) * level).sum();
            expected.push(factor * product * f64::from(prepared.step));
        }
        let mut found = vec![0.0; rows];
        prepared.add_estimates(&codes, &factors, &mut found);
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}
