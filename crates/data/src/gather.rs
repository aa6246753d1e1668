//! Rows and the places where they are wanted.

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, check_rows};

/// Below this many numbers a copy is over before a second thread has woken.
const PARALLEL_FROM: usize = 1 << 16;

/// A row, and where it goes.
pub(crate) type Wanted<'a> = (usize, &'a mut [f32]);

/// Checks indices and sizes, and pairs rows with their places.
pub(crate) fn wanted<'a>(
    total: usize,
    dim: usize,
    rows: &[usize],
    out: &'a mut [f32],
) -> Result<Vec<Wanted<'a>>, FeatureError> {
    if out.len() != rows.len() * dim {
        return Err(FeatureError::OutputSize { found: out.len(), expected: rows.len() * dim });
    }
    if let Some(&row) = rows.iter().find(|&&row| row >= total) {
        return Err(FeatureError::OutOfRange { row, rows: total });
    }
    Ok(rows.iter().copied().zip(out.chunks_exact_mut(dim)).collect())
}

/// [`wanted`], in the order of the rows.
pub(crate) fn sorted<'a>(
    total: usize,
    dim: usize,
    rows: &[usize],
    out: &'a mut [f32],
) -> Result<Vec<Wanted<'a>>, FeatureError> {
    let mut wanted = wanted(total, dim, rows, out)?;
    if !rows.is_sorted() {
        wanted.sort_unstable_by_key(|&(row, _)| row);
    }
    Ok(wanted)
}

/// Cuts sorted rows, each with something that belongs to it, where the parts of a source begin, and numbers them from
/// the start of their part. `starts` begins with 0.
pub(crate) fn cut<'a, T>(
    mut wanted: &'a mut [(usize, T)],
    starts: &[usize],
) -> Vec<(usize, &'a mut [(usize, T)])> {
    let mut parts = Vec::new();
    while let Some((row, _)) = wanted.first() {
        let part = starts.partition_point(|start| start <= row) - 1;
        let end = match starts.get(part + 1) {
            Some(next) => wanted.partition_point(|(row, _)| row < next),
            None => wanted.len(),
        };
        let (these, rest) = std::mem::take(&mut wanted).split_at_mut(end);
        these.iter_mut().for_each(|(row, _)| *row -= starts[part]);
        parts.push((part, these));
        wanted = rest;
    }
    parts
}

/// Copies rows of a matrix in memory, in parallel where that pays.
pub(crate) fn copy_rows(values: &[f32], dim: usize, wanted: &mut [Wanted]) {
    let copy = |(row, out): &mut Wanted| out.copy_from_slice(&values[*row * dim..][..dim]);
    if wanted.len() * dim < PARALLEL_FROM {
        wanted.iter_mut().for_each(copy);
    } else {
        wanted.par_iter_mut().with_min_len((PARALLEL_FROM / 4 / dim).max(1)).for_each(copy);
    }
}

/// [`gather_checked`](sail_core::gather_checked) with the check in parallel. The error is that of the first bad row,
/// whatever the threads do.
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

    #[test]
    fn rows_are_cut_at_the_starts_of_parts() {
        let mut out = [0.0; 6];
        let mut rows = sorted(10, 1, &[9, 0, 3, 4, 9, 2], &mut out).unwrap();
        let parts: Vec<(usize, Vec<usize>)> = cut(&mut rows, &[0, 3, 5, 9])
            .into_iter()
            .map(|(part, rows)| (part, rows.iter().map(|(row, _)| *row).collect()))
            .collect();
        assert_eq!(parts, [(0, vec![0, 2]), (1, vec![0, 1]), (3, vec![0, 0])]);
    }
}
