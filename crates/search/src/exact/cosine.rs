//! Cosine similarities of queries with rows in full precision.

use pulp::Arch;
use rayon::prelude::*;
use sail_core::{FeatureSource, gather_checked};
use sail_support::TopScores;

use crate::{Hit, RowSet, SearchError};

/// Rows that are read at a time. Scattered rows are read by several threads, so these are few enough to share among cores.
const BLOCK: usize = 256;
/// Partial sums, because the compiler must not reorder a single floating-point sum to vectorise it.
const LANES: usize = 8;

/// Checks queries and returns them in unit length.
pub(crate) fn unit_queries(queries: &[f32], dim: usize) -> Result<Vec<f32>, SearchError> {
    if dim == 0 || !queries.len().is_multiple_of(dim) {
        return Err(SearchError::Dimension { found: queries.len(), dim });
    }
    let mut unit = Vec::with_capacity(queries.len());
    for (index, query) in queries.chunks_exact(dim).enumerate() {
        let norm = dot(query, query).sqrt();
        if !(norm.is_finite() && norm > 0.0) {
            return Err(SearchError::Query { index, norm: norm as f32 });
        }
        unit.extend(query.iter().map(|&value| (f64::from(value) / norm) as f32));
    }
    Ok(unit)
}

/// Checks that a set is of a collection of `rows` rows.
pub(crate) fn check_set(among: Option<&RowSet>, rows: usize) -> Result<(), SearchError> {
    match among {
        Some(set) if set.rows() != rows => Err(SearchError::Rows { found: set.rows(), expected: rows }),
        _ => Ok(()),
    }
}

/// Returns the `k` nearest of some rows, or of all, for each query of unit length. `rows` ascend.
pub(crate) fn nearest(
    source: &dyn FeatureSource,
    queries: &[f32],
    k: usize,
    rows: Option<&[usize]>,
) -> Result<Vec<Vec<Hit>>, SearchError> {
    let dim = source.dim().max(1);
    let total = rows.map_or(source.rows(), <[usize]>::len);
    let empty = || vec![TopScores::new(k); queries.len() / dim];
    let tops = (0..total.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let block = block * BLOCK..total.min((block + 1) * BLOCK);
            let block: Vec<usize> = match rows {
                Some(rows) => rows[block].to_vec(),
                None => block.collect(),
            };
            let mut values = vec![0.0; block.len() * dim];
            gather_checked(source, &block, &mut values)?;
            Ok(Arch::new().dispatch(|| {
                let norms: Vec<f64> = values.chunks_exact(dim).map(|row| dot(row, row).sqrt()).collect();
                let mut scores = Vec::with_capacity(block.len());
                queries
                    .chunks_exact(dim)
                    .map(|query| {
                        scores.clear();
                        let rows = values.chunks_exact(dim).zip(&norms);
                        scores.extend(rows.map(|(row, norm)| (dot(query, row) / norm) as f32));
                        let mut top = TopScores::new(k);
                        for (&row, score) in block.iter().zip(scores.chunks_exact(1)) {
                            top.extend(row, score, |_| true);
                        }
                        top
                    })
                    .collect::<Vec<_>>()
            }))
        })
        .try_reduce(empty, |mut tops, others| {
            tops.iter_mut().zip(others).for_each(|(top, other)| top.merge(other));
            Ok(tops)
        })
        .map_err(SearchError::Features)?;
    let hits = |top: TopScores| top.finish().into_iter().map(|(row, score)| Hit { row, score }).collect();
    Ok(tops.into_iter().map(hits).collect())
}

/// The dot product in f64, where products of two f32 are exact.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    sums.iter().sum::<f64>() + rest
}
