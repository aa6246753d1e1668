//! Checks of rows in parallel.

use std::ops::Range;

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, Progress, ProgressCounter, check_rows, gather_checked};

use crate::gather::PARALLEL_FROM;

/// Number of values in a block: small enough for a cache, large enough to amortize scheduling.
const BLOCK: usize = 1 << 18;

/// Checks that every row of a source is usable, with [`gather_checked`] in parallel. `progress` counts rows.
///
/// # Errors
/// The error of the first unusable row, independent of the order of the threads, and those of reading.
///
/// # Examples
/// ```
/// use sail_data::{MatrixFeatures, scan};
/// let features = MatrixFeatures::new(1, vec![1.0, f32::NAN, 0.0])?;
/// let error = scan(&features, |_| {}).unwrap_err();
/// assert!(error.to_string().starts_with("row 1 (key `1`) has the value NaN"));
/// # Ok::<(), sail_data::DataError>(())
/// ```
pub fn scan(source: &dyn FeatureSource, progress: impl FnMut(Progress) + Send) -> Result<(), FeatureError> {
    let counter = ProgressCounter::new(source.rows() as u64, "rows", progress);
    scan_range(source, 0..source.rows(), |rows| counter.add(rows))
}

/// [`scan`] of some rows. `checked` is called with numbers of checked rows.
pub(crate) fn scan_range(
    source: &dyn FeatureSource,
    range: Range<usize>,
    checked: impl Fn(u64) + Sync,
) -> Result<(), FeatureError> {
    let (total, dim) = (range.len(), source.dim());
    let _span = tracing::info_span!("scan", rows = total, dim).entered();
    let block = (BLOCK / dim.max(1)).max(1);
    (0..total.div_ceil(block))
        .into_par_iter()
        .map_init(Vec::new, |out, index| {
            let rows = index * block..total.min((index + 1) * block);
            let rows: Vec<usize> = rows.map(|row| range.start + row).collect();
            out.resize(rows.len() * dim, 0.0);
            gather_checked(source, &rows, out)?;
            checked(rows.len() as u64);
            Ok(())
        })
        .find_map_first(Result::err)
        .map_or(Ok(()), Err)
}

/// [`gather_checked`] with parallel checks. The error is that of the first unusable row, independent of the order of the
/// threads.
pub(crate) fn gather_checked_parallel(
    source: &dyn FeatureSource,
    rows: &[usize],
) -> Result<Vec<f32>, FeatureError> {
    let dim = source.dim();
    let mut out = vec![0.0; rows.len() * dim];
    source.gather(rows, &mut out)?;
    let block = (PARALLEL_FROM / dim).max(1);
    let checked = out
        .par_chunks(block * dim)
        .zip(rows.par_chunks(block))
        .find_map_first(|(values, rows)| check_rows(source, rows, values).err());
    checked.map_or(Ok(out), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    #[test]
    fn scans_every_row_once() {
        let features = MatrixFeatures::new(7, vec![1.0; 7 * 100_003]).unwrap();
        let mut last = None;
        scan(&features, |progress| last = Some(progress)).unwrap();
        assert_eq!(last, Some(Progress { done: 100_003, total: 100_003, unit: "rows" }));
    }

    #[test]
    fn scan_returns_the_error_of_the_first_bad_row() {
        // The thread of the second half reaches its bad row long before the other reaches the first.
        let mut values = vec![1.0; 64 * 100_000];
        for row in [45_011, 53_000, 99_999] {
            values[row * 64 + 3] = f32::INFINITY;
        }
        let features = MatrixFeatures::new(64, values).unwrap();
        for _ in 0..20 {
            let error = scan(&features, |_| {}).unwrap_err();
            assert!(matches!(error, FeatureError::NotFinite { row: 45_011, column: 3, .. }), "{error}");
        }
    }

    #[test]
    fn gather_returns_the_error_of_the_first_bad_row() {
        // The thread of the second half reaches its bad row long before the other reaches the first.
        let mut values = vec![1.0; 64 * 100_000];
        for row in [45_011, 50_300, 99_999] {
            values[row * 64 + 3] = f32::NAN;
        }
        let features = MatrixFeatures::new(64, values).unwrap();
        let rows: Vec<usize> = (0..100_000).collect();
        for _ in 0..20 {
            let error = gather_checked_parallel(&features, &rows).unwrap_err();
            assert!(matches!(error, FeatureError::NotFinite { row: 45_011, column: 3, .. }), "{error}");
        }
    }
}
