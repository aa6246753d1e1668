//! The silhouette of classes.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_support::ranges;

use super::calibration::Measured;
use super::permutations::Permutations;
use crate::groups::{count_classes, group_sums};
use crate::unit_rows::{UnitRows, product_transposed};
use crate::{BlockSize, EvalError};

/// Computes the mean silhouette of labelled rows by cosine distance (Rousseeuw 1987): `(b - a) / max(a, b)` for each row,
/// with `a` the mean distance to the other rows of its class and `b` the smallest mean distance to another class.
///
/// In -1 to 1; the only row of a class has 0. The mean cosine with a class is the cosine with its mean, so this takes a
/// product with the class means instead of all pairs.
///
/// # Shapes
/// - rows: `[n, dim]`
/// - labels: for each row, the index of its class
///
/// # Errors
/// [`EvalError`] for labels that differ in number from the rows or are not less than `n_classes`, if fewer than two classes
/// occur, for features that are not finite or all zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]], &Device::flex());
/// assert!((sail_eval::silhouette(rows, &[0, 0, 1, 1], 2)? - 1.0).abs() < 1e-6);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn silhouette(rows: Tensor<2>, labels: &[usize], n_classes: usize) -> Result<f64, EvalError> {
    Ok(silhouette_test(rows, labels, n_classes, &Permutations::NONE)?.value)
}

/// Computes [`silhouette`], also for permuted labels. A permutation takes as long as the value.
///
/// # Errors
/// Those of [`silhouette`].
pub fn silhouette_test(
    rows: Tensor<2>,
    labels: &[usize],
    n_classes: usize,
    permutations: &Permutations,
) -> Result<Measured, EvalError> {
    let rows = UnitRows::new(rows, "row")?;
    let counts = count_classes(labels, n_classes, rows.len(), "row")?;
    let occurring = counts.iter().filter(|&&count| count > 0).count();
    if occurring < 2 {
        return Err(EvalError::TooFew { what: "occurring class", found: occurring, expected: 2 });
    }
    permutations.test(mean_silhouette(&rows, labels, &counts)?, rows.len(), |order| {
        let labels: Vec<usize> = order.iter().map(|&row| labels[row]).collect();
        mean_silhouette(&rows, &labels, &counts)
    })
}

fn mean_silhouette(rows: &UnitRows, labels: &[usize], counts: &[usize]) -> Result<f64, EvalError> {
    let n_classes = counts.len();
    let sums = group_sums(rows, n_classes, |row| labels[row])?;
    let classes = sums.chunks_exact(rows.dim()).zip(counts);
    let means =
        classes.flat_map(|(sum, &count)| sum.iter().map(move |sum| (sum / count.max(1) as f64) as f32));
    let means = rows.upload_transposed(&means.collect::<Vec<_>>());
    let mut total = 0.0;
    for range in ranges(rows.len(), BlockSize::default().rows) {
        let mut cosines = product_transposed(&rows.upload(rows.read(range.clone())?), &means)?;
        let of_rows: Vec<f64> = cosines
            .values()?
            .par_chunks_exact(n_classes)
            .zip(&labels[range])
            .map(|(cosines, &label)| of_row(cosines, label, counts))
            .collect();
        // In order, so that the sum does not depend on the number of threads.
        total += of_rows.iter().sum::<f64>();
    }
    Ok(total / rows.len() as f64)
}

/// The silhouette of one row from its mean cosine with each class.
fn of_row(cosines: &[f32], label: usize, counts: &[usize]) -> f64 {
    if counts[label] == 1 {
        return 0.0;
    }
    let size = counts[label] as f64;
    // The class mean includes the row itself, with a cosine of 1.
    let within = 1.0 - (f64::from(cosines[label]) * size - 1.0) / (size - 1.0);
    let between = cosines
        .iter()
        .enumerate()
        .filter(|(class, _)| *class != label && counts[*class] > 0)
        .map(|(_, &cosine)| 1.0 - f64::from(cosine))
        .fold(f64::INFINITY, f64::min);
    let larger = within.max(between);
    if larger > 0.0 { (between - within) / larger } else { 0.0 }
}
