//! The most similar column of rows of unit vectors, exactly: products in f32 are a filter, and what passes it is computed
//! again in f64.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, check_rows};
use sail_support::{dot, ranges};

/// Rows of a tile of products, of which each thread computes one.
const TILE_ROWS: usize = 128;
/// Columns of a tile.
const TILE_COLUMNS: usize = 512;

/// Unit vectors in memory, row-major.
pub(super) struct UnitRows {
    dim: usize,
    values: Vec<f32>,
}

impl UnitRows {
    pub(super) fn empty(dim: usize) -> Self {
        Self { dim, values: Vec::new() }
    }

    /// Reads rows and normalizes them, with norms in f64, which neither overflow nor underflow.
    pub(super) fn read(source: &dyn FeatureSource, rows: &[usize]) -> Result<Self, FeatureError> {
        let dim = source.dim();
        let mut values = vec![0.0; rows.len() * dim];
        source.gather(rows, &mut values)?;
        let unusable = values.par_chunks_mut(dim.max(1)).zip(rows).find_map_first(|(values, row)| {
            let checked = check_rows(source, std::slice::from_ref(row), values);
            let scale = 1.0 / dot(values, values).sqrt();
            values.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
            checked.err()
        });
        unusable.map_or(Ok(Self { dim, values }), Err)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    pub(super) fn push(&mut self, row: &[f32]) {
        self.values.extend_from_slice(row);
    }

    fn slice(&self, rows: Range<usize>) -> MatRef<'_, f32> {
        let values = &self.values[rows.start * self.dim..rows.end * self.dim];
        MatRef::from_row_major_slice(values, rows.len(), self.dim)
    }

    /// A bound on the difference of a cosine in f32 and in f64: that of a sum of `dim` products, in any order.
    fn rounding(&self) -> f64 {
        (self.dim + 8) as f64 * f64::from(f32::EPSILON) / 2.0
    }
}

/// The most similar vector found so far, and its cosine.
pub(super) type Nearest = Option<(usize, f64)>;

/// Updates the nearest vector of `rows` by all `columns`, whose indices are `ids`, if its cosine is at least `floor`. Of
/// equally similar ones, the first counts.
pub(super) fn update(
    nearest: &mut [Nearest],
    (vectors, rows): (&UnitRows, Range<usize>),
    (columns, ids): (&UnitRows, &[usize]),
    floor: f64,
) {
    let rounding = vectors.rounding();
    nearest.par_chunks_mut(TILE_ROWS).enumerate().for_each(|(tile, nearest)| {
        let start = rows.start + tile * TILE_ROWS;
        products(vectors, start..start + nearest.len(), columns, 0..columns.len(), |row, column, score| {
            let nearest = &mut nearest[row];
            let floor = nearest.map_or(floor, |(_, cosine)| cosine.max(floor));
            if f64::from(score) < floor - rounding {
                return;
            }
            let cosine = dot(vectors.row(start + row), columns.row(column));
            if cosine >= floor && nearest.is_none_or(|(_, best)| cosine > best) {
                *nearest = Some((ids[column], cosine));
            }
        });
    });
}

/// For each row of a range, the earlier rows of the range with a cosine of at least `floor`, in order: their offsets in the
/// range and cosines.
pub(super) fn earlier_neighbors(
    vectors: &UnitRows,
    range: Range<usize>,
    floor: f64,
) -> Vec<Vec<(usize, f64)>> {
    let rounding = vectors.rounding();
    let mut neighbors = vec![Vec::new(); range.len()];
    neighbors.par_chunks_mut(TILE_ROWS).enumerate().for_each(|(tile, neighbors)| {
        let start = range.start + tile * TILE_ROWS;
        let end = start + neighbors.len();
        products(vectors, start..end, vectors, range.start..end, |row, column, score| {
            if column >= start + row || f64::from(score) < floor - rounding {
                return;
            }
            let cosine = dot(vectors.row(start + row), vectors.row(column));
            if cosine >= floor {
                neighbors[row].push((column - range.start, cosine));
            }
        });
    });
    neighbors
}

/// Calls `take` with the products of a tile of rows with columns: the offset of the row, the column, and the product. The
/// columns of a row are in order.
fn products(
    vectors: &UnitRows,
    rows: Range<usize>,
    columns: &UnitRows,
    range: Range<usize>,
    mut take: impl FnMut(usize, usize, f32),
) {
    let (height, first) = (rows.len(), range.start);
    let mut scores = vec![0.0f32; height * TILE_COLUMNS.min(range.len())];
    for part in ranges(range.len(), TILE_COLUMNS) {
        let (width, start) = (part.len(), first + part.start);
        let scores = &mut scores[..height * width];
        let target = MatMut::from_row_major_slice_mut(scores, height, width);
        let right = columns.slice(start..start + width);
        matmul(target, Accum::Replace, vectors.slice(rows.clone()), right.transpose(), 1.0, Par::Seq);
        for (row, scores) in scores.chunks_exact(width).enumerate() {
            for (column, &score) in (start..).zip(scores) {
                take(row, column, score);
            }
        }
    }
}
