//! What the losses do to each number of a tile, in one parallel pass where the tile lies in the CPU's memory.
//!
//! As tensor operations this takes a dozen passes on one core, as long as all three matrix products together; fused
//! it takes a tenth of them. The loops are written for the compiler to vectorise, and `pulp` picks the widest
//! instructions that the CPU has. The tensor versions in `logistic` and `softmax` say what is computed and are
//! the oracle in the tests.

use burn::tensor::{Tensor, TensorData};
use pulp::Arch;
use rayon::prelude::*;

use crate::logistic::Decisions;
use crate::softmax::{Choice, LogSumExp};

/// Numbers that one task takes: large enough to hide its cost, small enough to share a tile among cores.
const CHUNK: usize = 1 << 14;
/// Partial sums; a single one would have to be added in order, which does not vectorise.
const LANES: usize = 16;
/// Numbers that are added in single precision before the sum goes into a double.
const RUN: usize = 64 * LANES;

/// The tile's numbers to be changed in place, and what it takes to make them a tensor again.
fn with_numbers<T>(x: Tensor<2>, work: impl FnOnce(&mut [f32], [usize; 2]) -> T) -> (T, Tensor<2>) {
    let (device, shape) = (x.device(), x.dims());
    let mut data = x.into_data();
    // Callers check `is_host_f32`.
    let result = work(data.as_mut_slice().unwrap_or_default(), shape);
    (result, Tensor::from_data(data, &device))
}

fn numbers<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.clone().into_data().iter().collect()
}

/// [`Decisions::by_tensors`].
pub(crate) fn decisions(logits: Tensor<2>, bias: &Tensor<1>, positives: bool) -> Decisions {
    let device = logits.device();
    let bias = numbers(bias).first().copied().unwrap_or_default();
    let ([loss, gradient_sum], gradients) = with_numbers(logits, |logits, [_, columns]| {
        if positives {
            // The sign of `logit + bias` is flipped by that of both.
            for logit in logits.iter_mut().step_by(columns + 1) {
                *logit = -(*logit + bias) - bias;
            }
        }
        let arch = Arch::new();
        let decide = |chunk: &mut [f32]| arch.dispatch(|| decide(chunk, bias));
        let sums = logits.par_chunks_mut(CHUNK).map(decide).reduce(Default::default, |a, b| {
            let [(a, c), (b, d)] = [a.into(), b.into()];
            [a + b, c + d]
        });
        let mut flipped = 0.0;
        if positives {
            for gradient in logits.iter_mut().step_by(columns + 1) {
                *gradient = -*gradient;
                flipped += f64::from(*gradient);
            }
        }
        [sums[0], sums[1] + 2.0 * flipped]
    });
    let scalar = |x: f64| Tensor::from_data([x as f32], &device);
    Decisions { loss: scalar(loss), gradients, gradient_sum: scalar(gradient_sum) }
}

/// Turns logits into gradients; gives the sums of the losses and of the gradients.
#[inline(always)]
fn decide(logits: &mut [f32], bias: f32) -> [f64; 2] {
    let mut totals = [0.0; 2];
    for run in logits.chunks_mut(RUN) {
        let mut sums = [[0f32; LANES]; 2];
        let (whole, rest) = run.as_chunks_mut::<LANES>();
        for lanes in whole {
            for (lane, logit) in lanes.iter_mut().enumerate() {
                let (loss, gradient) = softplus_and_sigmoid(*logit + bias);
                *logit = gradient;
                sums[0][lane] += loss;
                sums[1][lane] += gradient;
            }
        }
        for logit in rest {
            let (loss, gradient) = softplus_and_sigmoid(*logit + bias);
            *logit = gradient;
            sums[0][0] += loss;
            sums[1][0] += gradient;
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum.iter().map(|&x| f64::from(x)).sum::<f64>();
        }
    }
    totals
}

/// Columns that one task reduces: two cache lines of each row.
const STRIPE: usize = 32;

/// [`LogSumExp::by_tensors`].
pub(crate) fn log_sum_exp(logits: Tensor<2>, dim: usize) -> LogSumExp {
    let device = logits.device();
    let [rows, columns] = logits.dims();
    let data = logits.into_data();
    let logits: &[f32] = data.as_slice().unwrap_or_default();
    let arch = Arch::new();
    let (largest, log_sums, shape): (Vec<f32>, Vec<f32>, _) = if dim == 1 {
        let rows_of = logits.par_chunks(columns.max(1));
        let (largest, log_sums) = rows_of.map(|row| arch.dispatch(|| log_sum_exp_of_row(row))).unzip();
        (largest, log_sums, [rows, 1])
    } else {
        let (mut largest, mut log_sums) = (vec![f32::NEG_INFINITY; columns], vec![0.0; columns]);
        let stripes = largest.par_chunks_mut(STRIPE).zip(log_sums.par_chunks_mut(STRIPE));
        stripes.enumerate().for_each(|(stripe, (largest, sums))| {
            let (first, width) = (stripe * STRIPE, largest.len());
            let stripe = || logits.chunks_exact(columns).map(|row| &row[first..first + width]);
            arch.dispatch(|| log_sum_exp_of_columns(stripe, largest, sums));
        });
        (largest, log_sums, [1, columns])
    };
    let tensor = |values| Tensor::from_data(TensorData::new(values, shape), &device);
    LogSumExp { largest: tensor(largest), log_sum: tensor(log_sums) }
}

#[inline(always)]
fn log_sum_exp_of_row(row: &[f32]) -> (f32, f32) {
    let (whole, rest) = row.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for lanes in whole {
        for (largest, &x) in largest.iter_mut().zip(lanes) {
            *largest = largest.max(x);
        }
    }
    let largest = largest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0f32; LANES];
    for lanes in whole {
        for (sum, &x) in sums.iter_mut().zip(lanes) {
            *sum += exp(x - largest);
        }
    }
    let rest: f32 = rest.iter().map(|&x| exp(x - largest)).sum();
    (largest, (rest + sums.iter().sum::<f32>()).ln())
}

#[inline(always)]
fn log_sum_exp_of_columns<'a, R: Iterator<Item = &'a [f32]>>(
    rows: impl Fn() -> R,
    largest: &mut [f32],
    log_sums: &mut [f32],
) {
    for row in rows() {
        for (largest, &x) in largest.iter_mut().zip(row) {
            *largest = largest.max(x);
        }
    }
    for row in rows() {
        for ((sum, &x), largest) in log_sums.iter_mut().zip(row).zip(&*largest) {
            *sum += exp(x - largest);
        }
    }
    log_sums.iter_mut().for_each(|sum| *sum = sum.ln());
}

/// [`probabilities_by_tensors`](crate::softmax::probabilities_by_tensors).
pub(crate) fn probabilities(
    logits: Tensor<2>,
    of_rows: Option<Choice<'_>>,
    of_columns: Option<Choice<'_>>,
) -> Tensor<2> {
    let read = |Choice { total, weight }: Choice<'_>| {
        (numbers(&total.largest), numbers(&total.log_sum), weight as f32)
    };
    let (of_rows, of_columns) = (of_rows.map(read), of_columns.map(read));
    let ((), probabilities) = with_numbers(logits, |logits, [_, columns]| {
        let arch = Arch::new();
        logits.par_chunks_mut(columns.max(1)).enumerate().for_each(|(row, logits)| {
            arch.dispatch(|| {
                let of_row =
                    of_rows.as_ref().map(|(largest, log_sum, weight)| (largest[row], log_sum[row], *weight));
                let of_columns =
                    of_columns.as_ref().map(|(a, b, weight)| (a.as_slice(), b.as_slice(), *weight));
                probabilities_of_row(logits, of_row, of_columns);
            });
        });
    });
    probabilities
}

#[inline(always)]
fn probabilities_of_row(
    logits: &mut [f32],
    of_row: Option<(f32, f32, f32)>,
    of_columns: Option<(&[f32], &[f32], f32)>,
) {
    let p = |x: f32, largest: f32, log_sum: f32| exp((x - largest) - log_sum);
    let (largest, log_sum, weight) = of_row.unwrap_or((0.0, 0.0, 0.0));
    match of_columns {
        Some((c_largest, c_log_sum, c_weight)) if of_row.is_some() => {
            for ((x, c_largest), c_log_sum) in logits.iter_mut().zip(c_largest).zip(c_log_sum) {
                *x = weight * p(*x, largest, log_sum) + c_weight * p(*x, *c_largest, *c_log_sum);
            }
        }
        Some((c_largest, c_log_sum, c_weight)) => {
            for ((x, c_largest), c_log_sum) in logits.iter_mut().zip(c_largest).zip(c_log_sum) {
                *x = c_weight * p(*x, *c_largest, *c_log_sum);
            }
        }
        None if of_row.is_some() => logits.iter_mut().for_each(|x| *x = weight * p(*x, largest, log_sum)),
        None => logits.fill(0.0),
    }
}

/// `log(1 + exp(x))` and `1 / (1 + exp(-x))` out of a single exponential, both to 3e-7 of their own size.
///
/// With `e = exp(-|x|)`, at most 1: `softplus(x) = max(x, 0) + log(1 + e)`, and
/// `log(1 + e) = 2 artanh(q)`, `q = e / (2 + e) <= 1/3`, by its series up to `q^13`.
#[inline(always)]
fn softplus_and_sigmoid(x: f32) -> (f32, f32) {
    let e = exp(-x.abs());
    let reciprocal = 1.0 / (1.0 + e);
    let sigmoid = if x >= 0.0 { reciprocal } else { e * reciprocal };
    let q = e / (2.0 + e);
    let s = q * q;
    let series = ((((((1.0 / 13.0f32) * s + 1.0 / 11.0) * s + 1.0 / 9.0) * s + 1.0 / 7.0) * s + 0.2) * s
        + 1.0 / 3.0)
        * s
        + 1.0;
    (x.max(0.0) + 2.0 * q * series, sigmoid)
}

/// `exp(x)` for `x` of at most about 0, to 2e-7 of its size; below -87, where it leaves the range of f32, 1e-38.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, so that `exp(x) = 2^n exp(r)`: a polynomial, and an addition to the
/// exponent (Cody and Waite 1980; the coefficients are those of the Cephes library).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number and leaves that in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first short enough for exact products.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Not `max`, which would take a NaN for a small number.
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
    use burn::tensor::Device;

    use super::*;
    use crate::softmax::probabilities_by_tensors;

    fn tile(shape: [usize; 2], size: f32) -> Tensor<2> {
        let values = (0..shape[0] * shape[1]).map(|i| (i as f32 * 0.7).sin() * size * (1.0 + (i % 7) as f32));
        Tensor::from_data(TensorData::new(values.collect(), shape), &Device::flex())
    }

    fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, relative: f32) {
        for (f, e) in numbers(&found).into_iter().zip(numbers(&expected)) {
            assert!((f - e).abs() <= relative * e.abs().max(1e-30), "{f:e}, expected {e:e}");
        }
    }

    #[test]
    fn exponential_and_logistic_functions_are_exact_to_rounding() {
        for i in -100_000..=100_000 {
            let x = i as f32 * 1e-3;
            let (softplus, sigmoid) = softplus_and_sigmoid(x);
            let exact = f64::from(x);
            let e = (-exact.abs()).exp();
            let check = |found: f32, expected: f64| {
                // Beyond the range of f32 it is enough to be as small as can be.
                let close = (f64::from(found) - expected).abs() <= 4e-7 * expected + 2e-38;
                assert!(close, "at {x}: {found:e}, expected {expected:e}");
            };
            check(softplus, exact.max(0.0) + e.ln_1p());
            check(sigmoid, 1.0 / (1.0 + (-exact).exp()));
            check(exp(-x.abs()), e);
        }
    }

    #[test]
    fn decisions_are_those_of_the_tensor_version() {
        let bias = Tensor::from_data([-10f32], &Device::flex());
        for (shape, positives) in [([3, 3], true), ([200, 200], true), ([130, 257], false), ([1, 1], true)] {
            for size in [0.1, 10.0] {
                let fused = decisions(tile(shape, size), &bias, positives);
                let expected = Decisions::by_tensors(tile(shape, size), &bias, positives);
                assert_close(fused.loss, expected.loss, 1e-5);
                assert_close(fused.gradients, expected.gradients, 1e-5);
                assert_close(fused.gradient_sum, expected.gradient_sum, 1e-4);
            }
        }
    }

    #[test]
    fn a_not_a_number_stays_one() {
        let (softplus, sigmoid) = softplus_and_sigmoid(f32::NAN);
        assert!(softplus.is_nan() && sigmoid.is_nan() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn choices_are_those_of_the_tensor_version() {
        for shape in [[3, 5], [70, 33], [64, 64], [1, 40], [40, 1], [1, 1]] {
            for size in [0.1, 30.0] {
                let x = || tile(shape, size);
                let [columns, rows] = [0, 1].map(|dim| LogSumExp::by_tensors(x(), dim));
                for (dim, expected) in [&columns, &rows].into_iter().enumerate() {
                    let found = log_sum_exp(x(), dim);
                    assert_close(found.largest, expected.largest.clone(), 0.0);
                    let difference = found.log_sum - expected.log_sum.clone();
                    assert!(numbers(&difference.abs().max())[0] < 1e-5);
                }
                let row = Some(Choice { total: &rows, weight: 0.3 });
                let column = Some(Choice { total: &columns, weight: 0.7 });
                for (row, column) in [(row, column), (row, None), (None, column), (None, None)] {
                    let found = probabilities(x(), row, column);
                    let difference = found - probabilities_by_tensors(x(), row, column);
                    assert!(numbers(&difference.abs().max())[0] < 1e-5);
                }
            }
        }
    }
}
