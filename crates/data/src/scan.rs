//! Looking at every row once.

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, gather_checked};

/// How many numbers a thread looks at in one go: small enough for a cache, large enough to outweigh the
/// hand-over.
const BLOCK: usize = 1 << 18;

/// Checks that every row of a source can be used, with [`gather_checked`] in parallel. `progress` is told
/// the number of rows checked since its last call, from any thread.
///
/// # Errors
/// That of the lowest unusable row, whichever thread was faster; and those of reading.
///
/// # Examples
/// ```
/// use sail_data::{MatrixFeatures, scan};
/// let features = MatrixFeatures::new(1, vec![1.0, f32::NAN, 0.0])?;
/// let error = scan(&features, |_rows| {}).unwrap_err();
/// assert!(error.to_string().starts_with("row 1 (key `1`) has the value NaN"));
/// # Ok::<(), sail_data::DataError>(())
/// ```
pub fn scan(source: &dyn FeatureSource, progress: impl Fn(usize) + Sync) -> Result<(), FeatureError> {
    let (total, dim) = (source.rows(), source.dim());
    let _span = tracing::info_span!("scan", rows = total, dim).entered();
    let block = (BLOCK / dim.max(1)).max(1);
    (0..total.div_ceil(block))
        .into_par_iter()
        .map_init(Vec::new, |out, index| {
            let rows: Vec<usize> = (index * block..total.min((index + 1) * block)).collect();
            out.resize(rows.len() * dim, 0.0);
            gather_checked(source, &rows, out)?;
            progress(rows.len());
            Ok(())
        })
        .find_map_first(Result::err)
        .map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_row_is_looked_at_once() {
        let features = MatrixFeatures::new(7, vec![1.0; 7 * 100_003]).unwrap();
        let seen = AtomicUsize::new(0);
        scan(&features, |rows| _ = seen.fetch_add(rows, Ordering::Relaxed)).unwrap();
        assert_eq!(seen.into_inner(), 100_003);
    }

    #[test]
    fn the_lowest_bad_row_is_named_however_the_threads_run() {
        // The second half, which another thread takes, meets its bad row at once, long before the first.
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
}
