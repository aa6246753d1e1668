//! Requests for rows: an index and the output slice of each.

use rayon::prelude::*;
use sail_core::FeatureError;

/// Copies of fewer values are faster on one thread.
pub(crate) const PARALLEL_FROM: usize = 1 << 16;

/// The index of a row and its output slice.
pub(crate) type Wanted<'a> = (usize, &'a mut [f32]);

/// Validates indices and sizes, and pairs rows with their output slices.
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

/// [`wanted`], sorted by row.
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

/// Splits sorted rows, each with a payload, by the part of a source that they are in. Their indices become relative to the
/// part. `starts` is the first row of each part, so it begins with 0.
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

/// Copies rows of a matrix in memory, in parallel if it is large enough.
pub(crate) fn copy_rows(values: &[f32], dim: usize, wanted: &mut [Wanted]) {
    let copy = |(row, out): &mut Wanted| out.copy_from_slice(&values[*row * dim..][..dim]);
    if wanted.len() * dim < PARALLEL_FROM {
        wanted.iter_mut().for_each(copy);
    } else {
        wanted.par_iter_mut().with_min_len((PARALLEL_FROM / 4 / dim).max(1)).for_each(copy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_splits_at_the_starts_of_parts() {
        let mut out = [0.0; 6];
        let mut rows = sorted(10, 1, &[9, 0, 3, 4, 9, 2], &mut out).unwrap();
        let parts: Vec<(usize, Vec<usize>)> = cut(&mut rows, &[0, 3, 5, 9])
            .into_iter()
            .map(|(part, rows)| (part, rows.iter().map(|(row, _)| *row).collect()))
            .collect();
        assert_eq!(parts, [(0, vec![0, 2]), (1, vec![0, 1]), (3, vec![0, 0])]);
    }
}
