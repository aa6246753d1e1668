//! The series behind `log(1 + e)`.

/// Coefficients of `artanh(q) / q` in powers of `q²`.
///
/// For `e` in 0 to 1, `log(1 + e) = 2 artanh(q)` with `q = e / (2 + e) <= 1/3`, which this truncated series gives to
/// 1e-7 of its value. A logarithm of the rounded sum `1 + e` loses the digits of a small `e`.
pub(crate) const ARTANH: [f32; 7] = [1.0, 1.0 / 3.0, 0.2, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0];
