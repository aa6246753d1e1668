//! Copying rows out of a source, in parallel where that pays.

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, gather_checked};

/// Below this many numbers a copy is over before a second thread has woken.
const PARALLEL_FROM: usize = 1 << 16;

/// Checks indices and sizes, then copies each row with `copy(row, out)`.
pub(crate) fn gather_rows(
    total: usize,
    dim: usize,
    rows: &[usize],
    out: &mut [f32],
    copy: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<(), FeatureError> {
    if out.len() != rows.len() * dim {
        return Err(FeatureError::OutputSize { found: out.len(), expected: rows.len() * dim });
    }
    if let Some(&row) = rows.iter().find(|&&row| row >= total) {
        return Err(FeatureError::OutOfRange { row, rows: total });
    }
    if out.len() < PARALLEL_FROM {
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(dim)) {
            copy(row, out);
        }
    } else {
        out.par_chunks_exact_mut(dim)
            .zip(rows)
            .with_min_len((PARALLEL_FROM / 4 / dim).max(1))
            .for_each(|(out, &row)| copy(row, out));
    }
    Ok(())
}

/// [`gather_checked`] in parallel blocks. The error is that of the first bad row, whatever the threads do.
pub(crate) fn gather_checked_parallel(
    source: &dyn FeatureSource,
    rows: &[usize],
) -> Result<Vec<f32>, FeatureError> {
    let dim = source.dim();
    let mut out = vec![0.0; rows.len() * dim];
    let block = (PARALLEL_FROM / dim).max(1);
    out.par_chunks_mut(block * dim)
        .zip(rows.par_chunks(block))
        .find_map_first(|(out, rows)| gather_checked(source, rows, out).err())
        .map_or(Ok(out), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    #[test]
    fn the_first_bad_row_is_named_however_the_threads_run() {
        // The second half, which another thread takes, meets its bad row at once, long before the first.
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
