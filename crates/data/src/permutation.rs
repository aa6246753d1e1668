//! Computed pseudo-random permutations.

/// Four rounds suffice for large domains (Luby and Rackoff). Small ones need more to be close to uniform: over four values
/// the deviation halves with each round.
const ROUNDS: usize = 12;

/// A pseudo-random permutation of `0..len` with constant memory and constant-time random access.
///
/// A balanced Feistel network permutes the next power of four, which is less than four times `len`. It is applied again to
/// values outside `0..len` ("cycle walking"), so the result is a bijection. The same `len` and `seed` result in the same
/// permutation on every machine and in every version of this crate.
///
/// It is intended for shuffling and **not cryptographic**: the round function is a fast mixer.
///
/// References: Luby and Rackoff, "How to construct pseudorandom permutations from pseudorandom functions",
/// 1988; Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002; the mixer is that of
/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
///
/// # Examples
/// ```
/// let shuffle = sail_data::Permutation::new(5, 42);
/// let mut values: Vec<u64> = (0..5).map(|i| shuffle.get(i)).collect();
/// values.sort();
/// assert_eq!(values, [0, 1, 2, 3, 4]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    /// Bits in half of a block, 0 to 32.
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// Creates the permutation of `0..len` for a seed.
    pub fn new(len: u64, seed: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let keys = std::array::from_fn(|round| stream(seed, round as u64));
        Self { len, half: bits.div_ceil(2), keys }
    }

    /// Returns the number of permuted values.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns `true` if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the value at a position. Positions from `len` on map to themselves, so this is a bijection of `u64`.
    pub fn get(&self, position: u64) -> u64 {
        if position >= self.len {
            return position;
        }
        let mut value = self.network(position);
        while value >= self.len {
            value = self.network(value);
        }
        value
    }

    fn network(&self, value: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half | right
    }
}

/// Returns element `index` of the SplitMix64 sequence for a seed.
pub(crate) fn stream(seed: u64, index: u64) -> u64 {
    mix(seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The finalizer of SplitMix64: every output bit depends on every input bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn values(len: u64, seed: u64) -> Vec<u64> {
        let permutation = Permutation::new(len, seed);
        (0..len).map(|position| permutation.get(position)).collect()
    }

    /// Pearson's statistic against equal expectations.
    fn chi_square(counts: impl IntoIterator<Item = u64>, expected: f64) -> f64 {
        counts.into_iter().map(|count| (count as f64 - expected).powi(2) / expected).sum()
    }

    #[test]
    fn golden_values() {
        // From an independent implementation in Python, after the documentation.
        assert_eq!(values(10, 0), [0, 3, 4, 5, 7, 8, 9, 6, 2, 1]);
        assert_eq!(values(10, 1), [4, 3, 1, 0, 2, 6, 8, 5, 9, 7]);
        assert_eq!(values(7, u64::MAX), [0, 2, 4, 6, 5, 3, 1]);
        let million = Permutation::new(1_000_000, 42);
        assert_eq!((million.get(0), million.get(999_999)), (3318, 218_961));
        assert_eq!(Permutation::new(23_000_000, 2024).get(12_345_678), 2_530_618);
        assert_eq!(Permutation::new(1 << 63, 7).get(5), 1_881_372_368_878_441_366);
        assert_eq!(Permutation::new(u64::MAX, 7).get(0), 4_025_607_500_295_396_549);
    }

    #[test]
    fn splitmix64_matches_the_reference() {
        // The first values of the reference implementation for seed 1234567.
        let values: Vec<u64> = (0..3).map(|index| stream(1_234_567, index)).collect();
        assert_eq!(values, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn all_orders_of_four_are_equally_likely() {
        let seeds = 48_000;
        let mut counts = HashMap::<Vec<u64>, u64>::new();
        for seed in 0..seeds {
            *counts.entry(values(4, seed)).or_default() += 1;
        }
        assert_eq!(counts.len(), 24);
        // 23 degrees of freedom: 49.7 is exceeded by chance once in a thousand.
        let statistic = chi_square(counts.into_values(), seeds as f64 / 24.0);
        assert!(statistic < 49.7, "{statistic}");
    }

    #[test]
    fn every_value_is_equally_likely_at_every_position() {
        // Eleven values need a block of sixteen, so this includes cycle walking.
        let (len, seeds) = (11usize, 22_000);
        let mut counts = vec![0; len * len];
        for seed in 0..seeds {
            for (position, value) in values(len as u64, seed).into_iter().enumerate() {
                counts[position * len + value as usize] += 1;
            }
        }
        // Rows and columns of a permutation sum to 1, which leaves 10 x 10 degrees of freedom once scaled
        // by (n - 1) / n: 149.4 is exceeded by chance once in a thousand.
        let statistic = chi_square(counts, seeds as f64 / len as f64) * 10.0 / 11.0;
        assert!(statistic < 149.4, "{statistic}");
    }

    #[test]
    fn neighbours_are_separated() {
        // In a random permutation both counts are close to Poisson with mean 1.
        let rows = values(100_000, 7);
        let adjacent = rows.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
        assert!(adjacent < 10, "{adjacent}");
        let fixed = rows.iter().enumerate().filter(|&(position, &value)| position as u64 == value).count();
        assert!(fixed < 10, "{fixed}");
    }

    #[test]
    fn extreme_lengths() {
        assert_eq!(Permutation::new(0, 3).get(9), 9);
        assert_eq!(values(1, 3), [0]);
        let widest = Permutation::new(u64::MAX, 3);
        let (a, b) = (widest.get(0), widest.get(u64::MAX - 1));
        assert!(a < u64::MAX && b < u64::MAX && a != b);
        assert_eq!(widest.get(u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn is_a_bijection(len in 0u64..3000, seed: u64) {
            let mut sorted = values(len, seed);
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..len).collect::<Vec<_>>());
        }
    }
}
