//! Rows that are near each other, exactly: products in f32 are a filter, and what passes it is computed again in f64.

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
struct UnitRows {
    dim: usize,
    values: Vec<f32>,
}

impl UnitRows {
    /// Reads rows and normalizes them, with norms in f64, which neither overflow nor underflow.
    fn read(source: &dyn FeatureSource, rows: &[usize]) -> Result<Self, FeatureError> {
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

    fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..][..self.dim]
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

/// Rows with one or several vectors of unit length each, such as that of an image and that of its captions.
pub(super) struct Vectors<const N: usize>([UnitRows; N]);

impl<const N: usize> Vectors<N> {
    pub(super) fn empty(sources: [&dyn FeatureSource; N]) -> Self {
        Self(sources.map(|source| UnitRows { dim: source.dim(), values: Vec::new() }))
    }

    /// Reads rows, which have the same index in each source.
    pub(super) fn read(sources: [&dyn FeatureSource; N], rows: &[usize]) -> Result<Self, FeatureError> {
        let mut vectors = Self::empty(sources);
        for (vectors, source) in vectors.0.iter_mut().zip(sources) {
            *vectors = UnitRows::read(source, rows)?;
        }
        Ok(vectors)
    }

    pub(super) fn len(&self) -> usize {
        self.0.first().map_or(0, UnitRows::len)
    }

    /// Adds a row of others.
    pub(super) fn push(&mut self, others: &Self, row: usize) {
        for (vectors, others) in self.0.iter_mut().zip(&others.0) {
            vectors.values.extend_from_slice(others.row(row));
        }
    }

    fn cosines(&self, row: usize, others: &Self, other: usize) -> [f64; N] {
        std::array::from_fn(|part| dot(self.0[part].row(row), others.0[part].row(other)))
    }

    fn rounding(&self) -> f64 {
        self.0.iter().map(UnitRows::rounding).fold(0.0, f64::max)
    }
}

/// Which rows are near each other: those with a cosine of at least the floor in all vectors, or in any of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near<const N: usize> {
    pub(super) floors: [f64; N],
    pub(super) any: bool,
}

impl<const N: usize> Near<N> {
    /// How far rows are above the floor, by which the most similar of several is chosen; negative if they are not near.
    pub(super) fn margin(&self, cosines: [f64; N]) -> f64 {
        let margins = cosines.iter().zip(&self.floors).map(|(cosine, floor)| cosine - floor);
        let margin = margins.reduce(if self.any { f64::max } else { f64::min });
        margin.unwrap_or(f64::NEG_INFINITY)
    }
}

/// The nearest row found so far, and its cosines.
pub(super) type Nearest<const N: usize> = Option<(usize, [f64; N])>;

/// Updates the nearest row of `rows` by all `columns`, whose indices are `ids`, if they are near. Of equally near ones, the
/// first counts.
pub(super) fn update<const N: usize>(
    nearest: &mut [Nearest<N>],
    (vectors, rows): (&Vectors<N>, Range<usize>),
    (columns, ids): (&Vectors<N>, &[usize]),
    near: &Near<N>,
) {
    let rounding = vectors.rounding();
    nearest.par_chunks_mut(TILE_ROWS).enumerate().for_each(|(tile, nearest)| {
        let start = rows.start + tile * TILE_ROWS;
        let end = start + nearest.len();
        products(vectors, start..end, columns, 0..columns.len(), |row, column, scores| {
            let nearest = &mut nearest[row];
            let best = nearest.map(|(_, cosines)| near.margin(cosines));
            if near.margin(scores.map(f64::from)) < best.unwrap_or(0.0) - rounding {
                return;
            }
            let cosines = vectors.cosines(start + row, columns, column);
            let margin = near.margin(cosines);
            if margin >= 0.0 && best.is_none_or(|best| margin > best) {
                *nearest = Some((ids[column], cosines));
            }
        });
    });
}

/// For each row of a range, the earlier rows of the range that are near it, in order: their offsets in the range and cosines.
pub(super) fn earlier_neighbors<const N: usize>(
    vectors: &Vectors<N>,
    range: Range<usize>,
    near: &Near<N>,
) -> Vec<Vec<(usize, [f64; N])>> {
    let rounding = vectors.rounding();
    let mut neighbors = vec![Vec::new(); range.len()];
    neighbors.par_chunks_mut(TILE_ROWS).enumerate().for_each(|(tile, neighbors)| {
        let start = range.start + tile * TILE_ROWS;
        let end = start + neighbors.len();
        products(vectors, start..end, vectors, range.start..end, |row, column, scores| {
            if column >= start + row || near.margin(scores.map(f64::from)) < -rounding {
                return;
            }
            let cosines = vectors.cosines(start + row, vectors, column);
            if near.margin(cosines) >= 0.0 {
                neighbors[row].push((column - range.start, cosines));
            }
        });
    });
    neighbors
}

/// Calls `take` with the products of a tile of rows with columns: the offset of the row, the column, and the products. The
/// columns of a row are in order.
fn products<const N: usize>(
    vectors: &Vectors<N>,
    rows: Range<usize>,
    columns: &Vectors<N>,
    range: Range<usize>,
    mut take: impl FnMut(usize, usize, [f32; N]),
) {
    let (height, first) = (rows.len(), range.start);
    let mut scores = [(); N].map(|()| vec![0.0f32; height * TILE_COLUMNS.min(range.len())]);
    for part in ranges(range.len(), TILE_COLUMNS) {
        let (width, start) = (part.len(), first + part.start);
        for (scores, (left, right)) in scores.iter_mut().zip(vectors.0.iter().zip(&columns.0)) {
            let target = MatMut::from_row_major_slice_mut(&mut scores[..height * width], height, width);
            let right = right.slice(start..start + width);
            matmul(target, Accum::Replace, left.slice(rows.clone()), right.transpose(), 1.0, Par::Seq);
        }
        for row in 0..height {
            let of_row = scores.each_ref().map(|scores| &scores[row * width..][..width]);
            for (offset, column) in (start..start + width).enumerate() {
                take(row, column, of_row.map(|scores| scores[offset]));
            }
        }
    }
}
