//! Ranks of correct answers in both directions, from a score matrix computed in tiles.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_support::ranges;

use crate::ranks::TIE_TOLERANCE;
use crate::unit_rows::{UnitRows, dot, product};
use crate::{BlockSize, EvalError};

/// Columns per task, whose thresholds and counts fit in the L1 cache.
const CHUNK: usize = 512;
/// Scores between two checks for undecided ones.
const SEGMENT: usize = 64;
/// Pairs of a tile whose score is computed in f64 to estimate the error of the product.
const PROBES: usize = 256;

/// Ranks of correct answers, counted from 1.
pub(crate) struct Ranks {
    /// For each row, the rank of its best column among the columns of other rows; undefined for rows without a column.
    pub(crate) rows: Vec<usize>,
    /// For each column, the rank of its row among all rows.
    pub(crate) columns: Vec<usize>,
}

/// Ranks rows against columns and columns against rows, where column `j` belongs to row `row_of[j]`.
///
/// `row_of` must have a valid row index for every column, and both sides the same dimension.
pub(crate) fn rank_both_ways(
    rows: &UnitRows,
    columns: &UnitRows,
    row_of: &[usize],
    block: &BlockSize,
) -> Result<Ranks, EvalError> {
    let own_columns = own_scores(rows, columns, row_of, block)?;
    let mut own_rows = vec![f64::NEG_INFINITY; rows.len()];
    for (&row, &score) in row_of.iter().zip(&own_columns) {
        own_rows[row] = own_rows[row].max(score);
    }
    // A block of columns is normalised once for all blocks of rows.
    let mut better_in_row = vec![0u32; rows.len()];
    let mut better_in_column = vec![0u32; columns.len()];
    for c in ranges(columns.len(), block.columns) {
        let column_vectors = columns.read(c.clone())?;
        let column_tensor: Tensor<2> = columns.upload(column_vectors.clone());
        for r in ranges(rows.len(), block.rows) {
            let row_vectors = rows.read(r.clone())?;
            let mut scores = product(&rows.upload(row_vectors.clone()), &column_tensor)?;
            let mut tile = Tile {
                scores: scores.values()?,
                width: c.len(),
                dim: rows.dim(),
                row_vectors: &row_vectors,
                column_vectors: &column_vectors,
                own_rows: &own_rows[r.clone()],
                own_columns: &own_columns[c.clone()],
            };
            let error = tile.error_bound();
            let pairs = row_of[c.clone()].iter().enumerate();
            tile.exclude(
                pairs.filter(|(_, row)| r.contains(row)).map(|(column, row)| (row - r.start, column)),
            );
            tile.count(error, &mut better_in_row[r], &mut better_in_column[c.clone()]);
        }
    }
    let ranks = |better: Vec<u32>| better.into_iter().map(|n| n as usize + 1).collect();
    Ok(Ranks { rows: ranks(better_in_row), columns: ranks(better_in_column) })
}

/// The f64 score of every column with its row. Validates every column and every row that has one.
fn own_scores(
    rows: &UnitRows,
    columns: &UnitRows,
    row_of: &[usize],
    block: &BlockSize,
) -> Result<Vec<f64>, EvalError> {
    let mut own = Vec::with_capacity(columns.len());
    for c in ranges(columns.len(), block.columns) {
        let own_rows = rows.gather(&row_of[c.clone()])?;
        let columns = columns.read(c)?;
        own.par_extend(
            own_rows
                .par_chunks_exact(rows.dim())
                .zip(columns.par_chunks_exact(rows.dim()))
                .map(|(row, column)| dot(row, column)),
        );
    }
    Ok(own)
}

/// The scores of a block of rows with a block of columns.
struct Tile<'a> {
    /// Row-major.
    scores: &'a mut [f32],
    width: usize,
    dim: usize,
    row_vectors: &'a [f32],
    column_vectors: &'a [f32],
    /// For each row, the score of its best column.
    own_rows: &'a [f64],
    /// For each column, the score of its row.
    own_columns: &'a [f64],
}

impl Tile<'_> {
    fn exact(&self, row: usize, column: usize) -> f64 {
        let vector = |index: usize| index * self.dim..(index + 1) * self.dim;
        dot(&self.row_vectors[vector(row)], &self.column_vectors[vector(column)])
    }

    /// A bound on the error of a score.
    ///
    /// The bound of a sum of `dim` products in f32, or four times the largest error of some probed pairs for devices with
    /// less precise products.
    fn error_bound(&self) -> f64 {
        let height = self.own_rows.len();
        let unit_roundoff = f64::from(f32::EPSILON) / 2.0;
        (0..PROBES.min(self.scores.len()))
            .map(|probe| (probe * 31 % height, probe * 17 % self.width))
            .map(|(row, column)| {
                let score = f64::from(self.scores[row * self.width + column]);
                4.0 * (self.exact(row, column) - score).abs()
            })
            .fold((self.dim + 8) as f64 * unit_roundoff, f64::max)
    }

    /// Excludes pairs from the comparison.
    fn exclude(&mut self, pairs: impl Iterator<Item = (usize, usize)>) {
        for (row, column) in pairs {
            self.scores[row * self.width + column] = f32::NEG_INFINITY;
        }
    }

    /// Adds the number of scores that tie with or exceed the own score of each row and each column.
    fn count(&self, error: f64, better_in_row: &mut [u32], better_in_column: &mut [u32]) {
        let bounds = |own: &[f64]| -> (Vec<f32>, Vec<f32>) {
            own.iter()
                .map(|own| own - TIE_TOLERANCE)
                .map(|threshold| ((threshold - error) as f32, (threshold + error) as f32))
                .unzip()
        };
        let (row_low, row_high) = bounds(self.own_rows);
        let (column_low, column_high) = bounds(self.own_columns);
        let counted = better_in_column
            .par_chunks_mut(CHUNK)
            .zip(column_low.par_chunks(CHUNK))
            .zip(column_high.par_chunks(CHUNK))
            .enumerate()
            .map(|(chunk, ((better_in_column, low), high))| {
                let first = chunk * CHUNK;
                (0..row_low.len())
                    .map(|row| {
                        let start = row * self.width + first;
                        self.count_row(
                            (row, row_low[row], row_high[row]),
                            first,
                            &self.scores[start..start + low.len()],
                            (low, high),
                            better_in_column,
                        )
                    })
                    .collect::<Vec<u32>>()
            })
            .collect::<Vec<_>>();
        for counted in counted {
            for (better, n) in better_in_row.iter_mut().zip(counted) {
                *better += n;
            }
        }
    }

    /// Counts part of a row, starting at column `first`: returns the count of the row and adds to those of the columns.
    fn count_row(
        &self,
        (row, row_low, row_high): (usize, f32, f32),
        first: usize,
        scores: &[f32],
        (low, high): (&[f32], &[f32]),
        better_in_column: &mut [u32],
    ) -> u32 {
        let mut better_in_row = 0;
        for start in (0..scores.len()).step_by(SEGMENT) {
            let segment = start..(start + SEGMENT).min(scores.len());
            let mut undecided = 0;
            // Without branches, so that it vectorises.
            for (((&score, &low), &high), better) in scores[segment.clone()]
                .iter()
                .zip(&low[segment.clone()])
                .zip(&high[segment.clone()])
                .zip(&mut better_in_column[segment.clone()])
            {
                better_in_row += u32::from(score >= row_high);
                *better += u32::from(score >= high);
                undecided += u32::from((score >= row_low) & (score < row_high))
                    + u32::from((score >= low) & (score < high));
            }
            if undecided == 0 {
                continue;
            }
            for index in segment {
                let score = scores[index];
                let row_undecided = score >= row_low && score < row_high;
                let column_undecided = score >= low[index] && score < high[index];
                if row_undecided || column_undecided {
                    let column = first + index;
                    let exact = self.exact(row, column);
                    let beats = |own: f64| u32::from(exact >= own - TIE_TOLERANCE);
                    if row_undecided {
                        better_in_row += beats(self.own_rows[row]);
                    }
                    if column_undecided {
                        better_in_column[index] += beats(self.own_columns[column]);
                    }
                }
            }
        }
        better_in_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank;

    /// Unit rows around one direction, so their scores are close to each other.
    fn unit_rows(n: usize, dim: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut rows: Vec<f32> = (0..n * dim)
            .map(|_| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                1.0 + 0.2 * ((state >> 8) as f32 / (1 << 24) as f32)
            })
            .collect();
        for row in rows.chunks_exact_mut(dim) {
            let norm = dot(row, row).sqrt() as f32;
            row.iter_mut().for_each(|value| *value /= norm);
        }
        rows
    }

    #[test]
    fn ranks_do_not_depend_on_the_precision_of_the_product() {
        let (height, width, dim) = (70, 700, 24);
        let (row_vectors, column_vectors) = (unit_rows(height, dim, 1), unit_rows(width, dim, 2));
        let exact = |row: usize, column: usize| {
            dot(&row_vectors[row * dim..][..dim], &column_vectors[column * dim..][..dim])
        };
        // Ten explicit mantissa bits, as TF32.
        let coarse = |score: f64| f32::from_bits((score as f32).to_bits() & !0x1fff);
        let own_rows: Vec<f64> = (0..height).map(|row| exact(row, 10 * row + 3)).collect();
        let own_columns: Vec<f64> = (0..width).map(|column| exact(column / 10, column)).collect();
        let mut scores: Vec<f32> =
            (0..height * width).map(|pair| coarse(exact(pair / width, pair % width))).collect();
        let mut tile = Tile {
            scores: &mut scores,
            width,
            dim,
            row_vectors: &row_vectors,
            column_vectors: &column_vectors,
            own_rows: &own_rows,
            own_columns: &own_columns,
        };
        let error = tile.error_bound();
        assert!(error > 5e-4, "the error bound includes the coarse product: {error}");
        let own = |row: usize, column: usize| column / 10 == row;
        tile.exclude((0..width).map(|column| (column / 10, column)));
        let (mut better_in_row, mut better_in_column) = (vec![0; height], vec![0; width]);
        tile.count(error, &mut better_in_row, &mut better_in_column);
        for row in 0..height {
            let others = (0..width).filter(|&column| !own(row, column));
            let expected = rank(own_rows[row], others.map(|column| exact(row, column)));
            assert_eq!(better_in_row[row] as usize + 1, expected, "row {row}");
        }
        for column in 0..width {
            let others = (0..height).filter(|&row| !own(row, column));
            let expected = rank(own_columns[column], others.map(|row| exact(row, column)));
            assert_eq!(better_in_column[column] as usize + 1, expected, "column {column}");
        }
    }
}
