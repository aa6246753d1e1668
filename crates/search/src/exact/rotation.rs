//! The rotation of rows and queries before quantization.

use std::f32::consts::FRAC_1_SQRT_2;

use sha2::{Digest, Sha256};

/// Rounds of signs and transforms. Three of full width are enough for any input (Andoni et al., 2015); one more mixes widths
/// that are no power of two.
const ROUNDS: usize = 4;
/// Signs of one hash.
const HASH_BITS: usize = 256;

/// A fixed pseudorandom rotation of `R^width`, in `O(width log width)`.
///
/// After it, the coordinates of any vector are nearly normally distributed, which the estimates of codes rely on, and the
/// outlier dimensions that embeddings often have are spread over all. Each round multiplies by random signs, applies the fast
/// Hadamard transform to the first or, in odd rounds, the last coordinates whose number is a power of two, and, where those are
/// not all, rotates coordinate `i` with `i + width / 2` by 45 degrees.
///
/// Additions and multiplications have a fixed order, so results are the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    width: usize,
    /// For each round, the signs times the scale that makes its transforms orthogonal.
    signs: Vec<f32>,
}

impl Rotation {
    /// Creates the rotation for vectors of `dim` values.
    pub(crate) fn new(dim: usize) -> Self {
        let width = width(dim);
        let window = window(width);
        let mut signs = Vec::with_capacity(ROUNDS * width);
        for round in 0..ROUNDS {
            let transformed = transformed(round, width);
            for first in (0..width).step_by(HASH_BITS) {
                let mut hash = Sha256::new();
                hash.update(b"sail-codes rotation");
                hash.update((round as u64).to_le_bytes());
                hash.update((first as u64).to_le_bytes());
                let bits = hash.finalize();
                signs.extend((first..width.min(first + HASH_BITS)).map(|index| {
                    let negative = bits[index % HASH_BITS / 8] >> (index % 8) & 1 == 1;
                    let scale = if transformed.contains(&index) { 1.0 / (window as f32).sqrt() } else { 1.0 };
                    let scale = if window < width { scale * FRAC_1_SQRT_2 } else { scale };
                    if negative { -scale } else { scale }
                }));
            }
        }
        Self { width, signs }
    }

    /// Returns the number of values after the rotation: the next multiple of 64.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Rotates `values`, of [`width`](Self::width) values of which those beyond the dimension are zeros.
    pub(crate) fn apply(&self, values: &mut [f32]) {
        for (round, signs) in self.signs.chunks_exact(self.width).enumerate() {
            for (value, sign) in values.iter_mut().zip(signs) {
                *value *= sign;
            }
            hadamard(&mut values[transformed(round, self.width)]);
            // After a transform of all coordinates this would undo its last step.
            if window(self.width) < self.width {
                let (low, high) = values.split_at_mut(self.width / 2);
                butterfly(low, high);
            }
        }
    }
}

/// The number of values of a rotated vector of `dim` values.
pub(crate) fn width(dim: usize) -> usize {
    dim.max(1).next_multiple_of(64)
}

/// The largest power of two that is at most `width`.
fn window(width: usize) -> usize {
    1 << width.ilog2()
}

/// The coordinates that the Hadamard transform of a round applies to.
fn transformed(round: usize, width: usize) -> std::ops::Range<usize> {
    match round % 2 {
        0 => 0..window(width),
        _ => width - window(width)..width,
    }
}

/// The unnormalised Hadamard transform of a power of two of values.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            butterfly(low, high);
        }
        half *= 2;
    }
}

/// Replaces pairs by their sums and differences.
fn butterfly(low: &mut [f32], high: &mut [f32]) {
    for (low, high) in low.iter_mut().zip(high) {
        (*low, *high) = (*low + *high, *low - *high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(dim: usize, axis: usize) -> Vec<f64> {
        let rotation = Rotation::new(dim);
        let mut values = vec![0.0; rotation.width()];
        values[axis] = 1.0;
        rotation.apply(&mut values);
        values.into_iter().map(f64::from).collect()
    }

    #[test]
    fn is_orthogonal_at_every_width() {
        for dim in [1, 64, 65, 192, 300, 384] {
            let columns: Vec<Vec<f64>> = (0..dim).map(|axis| rotated(dim, axis)).collect();
            for (i, a) in columns.iter().enumerate() {
                for (j, b) in columns.iter().enumerate() {
                    let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-5, "{dim}: columns {i} and {j}: {product}");
                }
            }
        }
    }

    #[test]
    fn spreads_a_single_coordinate_over_all() {
        for (dim, axis) in [(512, 0), (768, 0), (768, 767), (960, 959), (1024, 5)] {
            let values = rotated(dim, axis);
            let width = values.len() as f64;
            let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            assert!(largest * width.sqrt() < 5.0, "{dim}: {largest}");
            // Of a normal distribution, the mean magnitude is 0.80 of the root mean square.
            let mean = values.iter().map(|value| value.abs()).sum::<f64>() / width.sqrt();
            assert!((mean - 0.8).abs() < 0.06, "{dim}: {mean}");
        }
    }

    #[test]
    fn is_fixed() {
        // Codes on disk depend on it.
        let mut values = vec![0.0; 64];
        values[0] = 1.0;
        Rotation::new(3).apply(&mut values);
        let hash = values
            .iter()
            .fold(0u64, |hash, value| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(value.to_bits()));
        assert_eq!(hash, 11_064_884_279_234_789_376);
    }
}
