//! How well classes keep apart.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_support::ranges;

use crate::unit_rows::{UnitRows, product};
use crate::zero_shot::count_classes;
use crate::{BlockSize, EvalError};

/// The mean silhouette of labelled rows by cosine distance (Rousseeuw, 1987): for each row `(b - a) / max(a, b)`, where
/// `a` is its mean distance to the others of its class and `b` the least of its mean distances to another class.
///
/// In -1 to 1. A row alone in its class counts 0. As a mean of cosines with a class is the cosine with the class's mean,
/// it takes a product with the means instead of all pairs.
///
/// # Shapes
/// - rows: `[n, dim]`
/// - labels: for each row, its class
///
/// # Errors
/// [`EvalError`] for labels of another length or not less than `n_classes`, fewer than two classes that occur,
/// embeddings that are not finite or all zeros, and when the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]], &Device::flex());
/// assert!((sail_eval::silhouette(rows, &[0, 0, 1, 1], 2)? - 1.0).abs() < 1e-6);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn silhouette(rows: Tensor<2>, labels: &[usize], n_classes: usize) -> Result<f64, EvalError> {
    let rows = UnitRows::new(rows, "row")?;
    let counts = count_classes(labels, n_classes, rows.len(), "row")?;
    let occurring = counts.iter().filter(|&&count| count > 0).count();
    if occurring < 2 {
        return Err(EvalError::TooFew { what: "occurring class", found: occurring, expected: 2 });
    }
    let block = BlockSize::default().rows;
    let dim = rows.dim();
    let mut means = vec![0.0f64; n_classes * dim];
    for range in ranges(rows.len(), block) {
        for (row, &class) in rows.read(range.clone())?.chunks_exact(dim).zip(&labels[range]) {
            for (mean, &value) in means[class * dim..][..dim].iter_mut().zip(row) {
                *mean += f64::from(value) / counts[class] as f64;
            }
        }
    }
    let means = rows.upload(means.iter().map(|&value| value as f32).collect());
    let mut total = 0.0;
    for range in ranges(rows.len(), block) {
        let mut cosines = product(&rows.upload(rows.read(range.clone())?), &means)?;
        total += cosines
            .values()?
            .par_chunks_exact(n_classes)
            .zip(&labels[range])
            .map(|(cosines, &own)| of_row(cosines, own, &counts))
            .sum::<f64>();
    }
    Ok(total / rows.len() as f64)
}

/// The silhouette of one row from its mean cosine with each class.
fn of_row(cosines: &[f32], own: usize, counts: &[usize]) -> f64 {
    if counts[own] == 1 {
        return 0.0;
    }
    let size = counts[own] as f64;
    // The mean with its class has the row itself in it, with a cosine of 1.
    let within = 1.0 - (f64::from(cosines[own]) * size - 1.0) / (size - 1.0);
    let between = cosines
        .iter()
        .enumerate()
        .filter(|(class, _)| *class != own && counts[*class] > 0)
        .map(|(_, &cosine)| 1.0 - f64::from(cosine))
        .fold(f64::INFINITY, f64::min);
    let larger = within.max(between);
    if larger > 0.0 { (between - within) / larger } else { 0.0 }
}
