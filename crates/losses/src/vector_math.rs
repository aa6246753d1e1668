//! Scalar functions without branches or calls, so that loops over them vectorise.

use crate::artanh::ARTANH;

/// `log(1 + exp(x))` and `1 / (1 + exp(-x))` from a single exponential, both with a relative error below 3e-7.
///
/// With `e = exp(-|x|)`, at most 1: `softplus(x) = max(x, 0) + log(1 + e)`, where the logarithm comes from [`ARTANH`].
#[inline(always)]
pub(crate) fn softplus_and_sigmoid(x: f32) -> (f32, f32) {
    const C: [f32; 7] = ARTANH;
    let e = exp(-x.abs());
    let reciprocal = 1.0 / (1.0 + e);
    let sigmoid = if x >= 0.0 { reciprocal } else { e * reciprocal };
    let q = e / (2.0 + e);
    let s = q * q;
    let series = (((((C[6] * s + C[5]) * s + C[4]) * s + C[3]) * s + C[2]) * s + C[1]) * s + C[0];
    (x.max(0.0) + 2.0 * q * series, sigmoid)
}

/// `exp(x)` for `x <= 0` (up to rounding) with a relative error below 2e-7; about 1e-38 for `x < -87`, where the result
/// would leave the normal range of f32.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, so that `exp(x) = 2^n exp(r)`: a polynomial, and an addition to the
/// exponent (Cody and Waite 1980; the coefficients are those of the Cephes library).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer and leaves that in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first short enough for exact products.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Not `max`, which would replace a NaN.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let p = 1.987_569_1e-4 * r + 1.398_2e-3;
    let p = ((p * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 1.666_666_6e-1;
    let p = (p * r + 0.5) * r * r + r + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_error_is_that_of_rounding() {
        for i in -100_000..=100_000 {
            let x = i as f32 * 1e-3;
            let (softplus, sigmoid) = softplus_and_sigmoid(x);
            let exact = f64::from(x);
            let e = (-exact.abs()).exp();
            let check = |found: f32, expected: f64| {
                // Below the normal range of f32 the result is only small.
                let close = (f64::from(found) - expected).abs() <= 4e-7 * expected + 2e-38;
                assert!(close, "at {x}: {found:e}, expected {expected:e}");
            };
            check(softplus, exact.max(0.0) + e.ln_1p());
            check(sigmoid, 1.0 / (1.0 + (-exact).exp()));
            check(exp(-x.abs()), e);
        }
    }

    #[test]
    fn propagates_nan() {
        let (softplus, sigmoid) = softplus_and_sigmoid(f32::NAN);
        assert!(softplus.is_nan() && sigmoid.is_nan() && exp(f32::NAN).is_nan());
    }
}
