//! Codes of one byte per dimension.
//!
//! A rotated centred row is divided by its largest magnitude over 127 and rounded. A query becomes integers of 16 bits, so that
//! products are integers, the same in every order of summation.

/// The largest magnitude of a value of a code.
const LEVELS: f32 = 127.0;

/// Sets the code of a row and returns its factor.
pub(crate) fn encode(rotated: &[f32], code: &mut [i8]) -> f32 {
    let largest = rotated.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let factor = largest / LEVELS;
    // The smallest rows have no factor in f32.
    if factor == 0.0 {
        return 0.0;
    }
    for (code, value) in code.iter_mut().zip(rotated) {
        *code = (value / factor).round() as i8;
    }
    factor
}

/// A query for codes of bytes.
pub(crate) struct Int8Query {
    values: Vec<i16>,
    step: f32,
}

impl Int8Query {
    pub(crate) fn new(rotated: &[f32]) -> Self {
        let magnitudes = || rotated.iter().map(|value| value.abs());
        // The largest integers whose sum of products with a code fits in 32 bits.
        let fits = i32::MAX as f32 / 128.0 - rotated.len() as f32;
        let step =
            (magnitudes().fold(0.0, f32::max) / f32::from(i16::MAX)).max(magnitudes().sum::<f32>() / fits);
        let step = if step > 0.0 { step } else { 1.0 };
        Self { values: rotated.iter().map(|value| (value / step).round() as i16).collect(), step }
    }

    /// Estimates the products with rows.
    #[inline(always)]
    pub(crate) fn estimate(&self, codes: &[i8], factors: &[f32], out: &mut [f32]) {
        let codes = codes.chunks_exact(self.values.len());
        for ((code, factor), out) in codes.zip(factors).zip(out) {
            let products =
                code.iter().zip(&self.values).map(|(&code, &value)| i32::from(code) * i32::from(value));
            *out = products.sum::<i32>() as f32 * self.step * factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_overflow() {
        for width in [64, 4096, 1 << 16] {
            let query = Int8Query::new(&vec![1.0; width]);
            let mut found = [0.0];
            let (mut code, row) = (vec![0; width], vec![-0.5; width]);
            let factor = encode(&row, &mut code);
            query.estimate(&code, &[factor], &mut found);
            let expected = -0.5 * width as f32;
            assert!((found[0] / expected - 1.0).abs() < 1e-3, "{found:?} {expected}");
        }
    }

    #[test]
    fn a_row_of_zeros_has_the_product_zero() {
        let mut code = vec![1; 64];
        assert_eq!(encode(&[0.0; 64], &mut code), 0.0);
        let mut found = [1.0];
        Int8Query::new(&[0.0; 64]).estimate(&code, &[0.0], &mut found);
        assert_eq!(found, [0.0]);
    }
}
