//! Rows by group: classes, clusters, or all rows at once.

use sail_support::ranges;

use crate::unit_rows::UnitRows;
use crate::{BlockSize, EvalError};

/// Sums the unit rows of each group, in f64.
///
/// # Shapes
/// - output: `[groups, dim]`, row-major
pub(crate) fn group_sums(
    rows: &UnitRows,
    groups: usize,
    group_of_row: impl Fn(usize) -> usize,
) -> Result<Vec<f64>, EvalError> {
    let dim = rows.dim();
    let mut sums = vec![0.0; groups * dim];
    for range in ranges(rows.len(), BlockSize::default().rows) {
        for (row, values) in range.clone().zip(rows.read(range)?.chunks_exact(dim)) {
            for (sum, &value) in sums[group_of_row(row) * dim..][..dim].iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
    }
    Ok(sums)
}

/// Checks class labels and counts the rows of each class. `of` names a row in errors.
pub(crate) fn count_classes(
    labels: &[usize],
    n_classes: usize,
    rows: usize,
    of: &'static str,
) -> Result<Vec<usize>, EvalError> {
    if labels.len() != rows {
        return Err(EvalError::Length { what: "class labels", found: labels.len(), expected: rows, of });
    }
    let mut counts = vec![0; n_classes];
    for (row, &class) in labels.iter().enumerate() {
        *counts.get_mut(class).ok_or(EvalError::OutOfRange {
            what: "class",
            found: class,
            expected: n_classes,
            of,
            row,
        })? += 1;
    }
    Ok(counts)
}
