//! The centre of rows.

use pulp::Arch;
use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, Progress, ProgressCounter, gather_checked};
use sail_support::ranges;

use super::cosine::dot;

/// Rows whose sum is computed by one task. Part of the result, since sums in floating point depend on their order.
const BLOCK: usize = 1024;
/// Blocks whose sums are in memory at a time.
const BLOCKS: usize = 64;

/// Returns the mean of the rows in unit length, zeros if there are none. `progress` counts rows.
///
/// The result is the same on every machine and with any number of threads: the sums are in f64 and in a fixed order.
///
/// # Shapes
/// - result: `[dim]`, of a norm of at most 1
///
/// # Errors
/// Those of reading; [`FeatureError::NotFinite`] and [`FeatureError::ZeroNorm`] for a row without a direction.
///
/// # Examples
/// ```
/// let rows = sail_data::MatrixFeatures::new(2, vec![3.0, 0.0, 0.0, 1.0])?;
/// assert_eq!(sail_search::centre(&rows, |_| {})?, [0.5, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn centre(
    source: &dyn FeatureSource,
    progress: impl FnMut(Progress) + Send,
) -> Result<Vec<f32>, FeatureError> {
    let counter = ProgressCounter::new(source.rows() as u64, "rows", progress);
    let mut sum = vec![0.0f64; source.dim()];
    for part in ranges(source.rows(), BLOCK * BLOCKS) {
        let blocks: Vec<Vec<usize>> =
            ranges(part.len(), BLOCK).map(|b| (part.start + b.start..part.start + b.end).collect()).collect();
        let sums: Vec<Vec<f64>> = blocks
            .into_par_iter()
            .map(|rows| {
                let sum = sum_of_unit_rows(source, &rows)?;
                counter.add(rows.len() as u64);
                Ok(sum)
            })
            .collect::<Result<_, FeatureError>>()?;
        for part in sums {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
    let scale = 1.0 / source.rows().max(1) as f64;
    Ok(sum.into_iter().map(|sum| (sum * scale) as f32).collect())
}

fn sum_of_unit_rows(source: &dyn FeatureSource, rows: &[usize]) -> Result<Vec<f64>, FeatureError> {
    let mut values = vec![0.0; rows.len() * source.dim()];
    gather_checked(source, rows, &mut values)?;
    Ok(Arch::new().dispatch(|| {
        let mut sum = vec![0.0; source.dim()];
        for row in values.chunks_exact(source.dim().max(1)) {
            let scale = 1.0 / dot(row, row).sqrt();
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) * scale);
        }
        sum
    }))
}
