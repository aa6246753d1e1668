//! The softmax of a tile in host memory, in vectorised, parallel passes.

use burn::tensor::{Tensor, TensorData};
use pulp::Arch;
use rayon::prelude::*;

use super::log_sum_exp::{LogSumExp, Weighted};
use crate::host::{LANES, modify, values};
use crate::vector_math::exp;

/// Columns per task of a reduction over rows: two cache lines of each row.
const STRIPE: usize = 32;

/// See [`super::log_sum_exp`].
pub(super) fn log_sum_exp(logits: Tensor<2>, dim: usize) -> LogSumExp {
    let device = logits.device();
    let [rows, columns] = logits.dims();
    let data = logits.into_data();
    let logits: &[f32] = data.as_slice().unwrap_or_default();
    let arch = Arch::new();
    let (max, log_sums, shape): (Vec<f32>, Vec<f32>, _) = if dim == 1 {
        let rows_of = logits.par_chunks(columns.max(1));
        let (max, log_sums) = rows_of.map(|row| arch.dispatch(|| log_sum_exp_of_row(row))).unzip();
        (max, log_sums, [rows, 1])
    } else {
        let (mut max, mut log_sums) = (vec![f32::NEG_INFINITY; columns], vec![0.0; columns]);
        let stripes = max.par_chunks_mut(STRIPE).zip(log_sums.par_chunks_mut(STRIPE));
        stripes.enumerate().for_each(|(stripe, (max, sums))| {
            let (first, width) = (stripe * STRIPE, max.len());
            let stripe = || logits.chunks_exact(columns).map(|row| &row[first..first + width]);
            arch.dispatch(|| log_sum_exp_of_columns(stripe, max, sums));
        });
        (max, log_sums, [1, columns])
    };
    let tensor = |values| Tensor::from_data(TensorData::new(values, shape), &device);
    LogSumExp { max: tensor(max), log_sum: tensor(log_sums) }
}

#[inline(always)]
fn log_sum_exp_of_row(row: &[f32]) -> (f32, f32) {
    let (whole, rest) = row.as_chunks::<LANES>();
    let mut max = [f32::NEG_INFINITY; LANES];
    for lanes in whole {
        for (max, &x) in max.iter_mut().zip(lanes) {
            *max = max.max(x);
        }
    }
    let max = max.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0f32; LANES];
    for lanes in whole {
        for (sum, &x) in sums.iter_mut().zip(lanes) {
            *sum += exp(x - max);
        }
    }
    let rest: f32 = rest.iter().map(|&x| exp(x - max)).sum();
    (max, (rest + sums.iter().sum::<f32>()).ln())
}

#[inline(always)]
fn log_sum_exp_of_columns<'a, R: Iterator<Item = &'a [f32]>>(
    rows: impl Fn() -> R,
    max: &mut [f32],
    log_sums: &mut [f32],
) {
    for row in rows() {
        for (max, &x) in max.iter_mut().zip(row) {
            *max = max.max(x);
        }
    }
    for row in rows() {
        for ((sum, &x), max) in log_sums.iter_mut().zip(row).zip(&*max) {
            *sum += exp(x - max);
        }
    }
    log_sums.iter_mut().for_each(|sum| *sum = sum.ln());
}

/// See [`super::weighted_softmax`].
pub(super) fn weighted_softmax(
    logits: Tensor<2>,
    rows: Option<Weighted<'_>>,
    columns: Option<Weighted<'_>>,
) -> Tensor<2> {
    let read = |Weighted { normalizer, weight }: Weighted<'_>| {
        (values(&normalizer.max), values(&normalizer.log_sum), weight as f32)
    };
    let (rows, columns) = (rows.map(read), columns.map(read));
    let ((), softmax) = modify(logits, |logits, [_, width]| {
        let arch = Arch::new();
        logits.par_chunks_mut(width.max(1)).enumerate().for_each(|(row, logits)| {
            arch.dispatch(|| {
                let row = rows.as_ref().map(|(max, log_sum, weight)| (max[row], log_sum[row], *weight));
                let columns =
                    columns.as_ref().map(|(max, log_sum, weight)| (&max[..], &log_sum[..], *weight));
                weighted_softmax_of_row(logits, row, columns);
            });
        });
    });
    softmax
}

#[inline(always)]
fn weighted_softmax_of_row(
    logits: &mut [f32],
    row: Option<(f32, f32, f32)>,
    columns: Option<(&[f32], &[f32], f32)>,
) {
    let p = |x: f32, max: f32, log_sum: f32| exp((x - max) - log_sum);
    match (row, columns) {
        (Some((max, log_sum, weight)), Some((c_max, c_log_sum, c_weight))) => {
            for ((x, c_max), c_log_sum) in logits.iter_mut().zip(c_max).zip(c_log_sum) {
                *x = weight * p(*x, max, log_sum) + c_weight * p(*x, *c_max, *c_log_sum);
            }
        }
        (None, Some((c_max, c_log_sum, c_weight))) => {
            for ((x, c_max), c_log_sum) in logits.iter_mut().zip(c_max).zip(c_log_sum) {
                *x = c_weight * p(*x, *c_max, *c_log_sum);
            }
        }
        (Some((max, log_sum, weight)), None) => {
            logits.iter_mut().for_each(|x| *x = weight * p(*x, max, log_sum));
        }
        (None, None) => logits.fill(0.0),
    }
}
