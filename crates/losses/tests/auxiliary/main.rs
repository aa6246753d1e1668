//! The auxiliary losses against oracles in f64 and their finite differences.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gram;
mod klot;
mod structure;

use burn::tensor::{Device, Tensor, TensorData};

/// A matrix by rows.
pub(crate) type Matrix = Vec<Vec<f64>>;

/// Pseudo-random values in -0.5 to 0.5, exact in f32.
pub(crate) fn matrix(rows: usize, columns: usize, seed: usize) -> Matrix {
    let noise = |i: usize| ((i * 7919 + seed * 104_729 + 13) as f64).sin() * 43_758.545_3;
    let value = |i| f64::from((noise(i).rem_euclid(1.0) - 0.5) as f32);
    (0..rows).map(|row| (0..columns).map(|column| value(row * columns + column)).collect()).collect()
}

/// Rows of unit length, rounded to f32.
pub(crate) fn unit(matrix: Matrix) -> Matrix {
    let normalize = |row: Vec<f64>| {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.into_iter().map(|x| f64::from((x / norm) as f32)).collect()
    };
    matrix.into_iter().map(normalize).collect()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn tensor(matrix: &Matrix) -> Tensor<2> {
    let shape = [matrix.len(), matrix[0].len()];
    let values: Vec<f32> = matrix.iter().flatten().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().try_to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// Asserts that no error exceeds `relative` times the largest expected magnitude.
pub(crate) fn assert_close(found: &[f64], expected: &[f64], relative: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let allowed = relative * expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (at, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= allowed, "{what} [{at}]: {f:e}, expected {e:e} to within {allowed:e}");
    }
}

/// The derivative of `value` with respect to every entry of `at`, by central differences.
pub(crate) fn differences(at: &Matrix, value: impl Fn(&Matrix) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let entries = (0..at.len()).flat_map(|row| (0..at[0].len()).map(move |column| (row, column)));
    let derivative = |(row, column): (usize, usize)| {
        let moved = |by: f64| {
            let mut at = at.clone();
            at[row][column] += by;
            value(&at)
        };
        (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
    };
    entries.map(derivative).collect()
}
