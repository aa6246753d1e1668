//! Codes of the rows of a collection.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, Progress, ProgressCounter, ensure, gather_checked};

use super::bit::{self, BitQuery, Words};
use super::cosine::dot;
use super::int8::{self, Int8Query};
use super::principal::{self, centre_row};
use super::rotation::{self, Rotation};
use super::{CodeKind, CodesError};

/// Rows that are read and encoded by one task, a multiple of [`bit::GROUP`].
const BLOCK: usize = 1024;
/// The largest dimension, which the sums of products in 32 bits allow.
pub(super) const MAX_DIM: usize = 1 << 20;
/// The largest norm of a centre: that of a mean of unit rows, up to rounding.
pub(super) const MAX_NORM: f64 = 1.001;

/// Quantized rows, in memory. [`ExactSearch`](super::ExactSearch) scans them.
///
/// A code describes `x - m`: a row `x` of unit length without the centre `m` of all rows. For a query `q`, the order of
/// `<q, x>` is that of `<q, x - m>`, so nothing is lost; but the images of vision-language models lie in a narrow cone away from
/// the texts, and the signs of `x` itself say mostly where the cone is. Queries are not centred, and keep more bits.
///
/// A row takes `dim / 8 + 40` bytes as [`CodeKind::Bit`] and `dim + 4` as [`CodeKind::Int8`], with `dim` rounded up to a multiple
/// of 64.
///
/// # Examples
/// ```
/// use sail_data::MatrixFeatures;
/// use sail_search::{CodeKind, Codes, centre};
///
/// let rows = MatrixFeatures::new(2, vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0])?;
/// let codes = Codes::encode(&rows, CodeKind::Bit, centre(&rows, |_| {})?, |_| {})?;
/// let folder = tempfile::tempdir()?;
/// codes.save(folder.path().join("codes.safetensors"))?;
/// assert_eq!(Codes::load(folder.path().join("codes.safetensors"))?, codes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    pub(super) centre: Vec<f32>,
    pub(super) factors: Vec<f32>,
    pub(super) table: Table,
}

/// The codes of a kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Table {
    /// One bit per dimension.
    Bit(BitTable),
    /// `[rows, width]`.
    Int8(Vec<i8>),
}

/// Codes of one bit per dimension, for what the principal parts of the rows leave over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BitTable {
    /// `[rows / 8, width / 64]`, rounded up.
    pub(super) signs: Vec<Words>,
    /// `[count, dim]`.
    pub(super) directions: Vec<f32>,
    /// The principal parts in multiples of their factors, `[rows, count]`.
    pub(super) coefficients: Vec<i8>,
    /// `[rows]`.
    pub(super) coefficient_factors: Vec<f32>,
}

/// A query, quantized for codes.
pub(super) struct CodeQuery {
    /// The product with the centre.
    offset: f32,
    quantized: Quantized,
}

enum Quantized {
    Bit { principal: Int8Query, rest: BitQuery },
    Int8(Int8Query),
}

impl Codes {
    /// Encodes all rows of a source. `progress` counts rows.
    ///
    /// The same rows and centre give the same codes on every machine. Memory beyond the codes is a few megabytes per thread.
    /// Parts of a collection are best encoded with the same centre, [that](super::centre) of the first.
    ///
    /// # Shapes
    /// - centre: `[dim]`
    ///
    /// # Errors
    /// [`CodesError::Config`] if the centre has another dimension, is not finite or is longer than a mean of unit rows can be;
    /// [`CodesError::Features`] if rows cannot be read or have no direction.
    pub fn encode(
        source: &dyn FeatureSource,
        kind: CodeKind,
        centre: Vec<f32>,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Self, CodesError> {
        let dim = source.dim();
        ensure((1..=MAX_DIM).contains(&dim), "dim", dim, format_args!("1 to {MAX_DIM}"))?;
        ensure(centre.len() == dim, "centre", format_args!("of {} values", centre.len()), dim)?;
        let norm = dot(&centre, &centre).sqrt();
        ensure(norm <= MAX_NORM, "centre", format_args!("of norm {norm}"), "a mean of rows of unit length")?;
        let (rows, rotation) = (source.rows(), Rotation::new(dim));
        let width = rotation.width();
        let progress = ProgressCounter::new(rows as u64, "rows", progress);
        let encoder = Encoder { source, centre: &centre, width, progress };
        let mut factors = vec![0.0; rows];
        let table = match kind {
            CodeKind::Bit => {
                let directions = principal::directions(source, &centre)?;
                let (words, count) = (width / 64, directions.len() / dim);
                let mut table = BitTable {
                    signs: vec![Words::ZERO; rows.div_ceil(bit::GROUP) * words],
                    coefficients: vec![0; rows * count],
                    coefficient_factors: vec![0.0; rows],
                    directions,
                };
                let BitTable { signs, directions, coefficients, coefficient_factors } = &mut table;
                let blocks = factors
                    .par_chunks_mut(BLOCK)
                    .zip(signs.par_chunks_mut(words * BLOCK / bit::GROUP))
                    .zip(coefficients.par_chunks_mut(count * BLOCK))
                    .zip(coefficient_factors.par_chunks_mut(BLOCK));
                encoder.run(
                    blocks,
                    |row, values, (((factors, signs), coefficients), coefficient_factors)| {
                        let code = &mut coefficients[row * count..][..count];
                        let parts: Vec<f32> = directions
                            .chunks_exact(dim)
                            .map(|direction| dot(direction, &values[..dim]) as f32)
                            .collect();
                        let factor = int8::encode(&parts, code);
                        coefficient_factors[row] = factor;
                        for (&code, direction) in code.iter().zip(directions.chunks_exact(dim)) {
                            subtract(values, f32::from(code) * factor, direction);
                        }
                        rotation.apply(values);
                        let group = &mut signs[row / bit::GROUP * words..][..words];
                        factors[row] = bit::encode(values, group, row % bit::GROUP);
                    },
                )?;
                Table::Bit(table)
            }
            CodeKind::Int8 => {
                let mut codes = vec![0; rows * width];
                let blocks = factors.par_chunks_mut(BLOCK).zip(codes.par_chunks_mut(width * BLOCK));
                encoder.run(blocks, |row, values, (factors, codes)| {
                    rotation.apply(values);
                    factors[row] = int8::encode(values, &mut codes[row * width..][..width]);
                })?;
                Table::Int8(codes)
            }
        };
        Ok(Self { centre, factors, table })
    }

    /// Returns how the rows are quantized.
    #[must_use]
    pub fn kind(&self) -> CodeKind {
        match self.table {
            Table::Bit(_) => CodeKind::Bit,
            Table::Int8(_) => CodeKind::Int8,
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.factors.len()
    }

    /// Returns the dimension of the rows before quantization.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.centre.len()
    }

    /// Returns the centre that was subtracted from the rows.
    #[must_use]
    pub fn centre(&self) -> &[f32] {
        &self.centre
    }

    /// Returns the size in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let table = match &self.table {
            Table::Bit(BitTable { signs, directions, coefficients, coefficient_factors }) => {
                size_of_val(signs.as_slice())
                    + size_of_val(directions.as_slice())
                    + coefficients.len()
                    + size_of_val(coefficient_factors.as_slice())
            }
            Table::Int8(codes) => codes.len(),
        };
        table + size_of_val(self.factors.as_slice()) + size_of_val(self.centre.as_slice())
    }

    /// Returns codes `[rows, width]` and factors `[rows]` of [`CodeKind::Int8`].
    #[cfg(feature = "approximate")]
    pub(crate) fn int8(&self) -> Option<(&[i8], &[f32])> {
        match &self.table {
            Table::Int8(codes) => Some((codes, &self.factors)),
            Table::Bit(_) => None,
        }
    }

    /// Quantizes a query of unit length. `rotation` is that of the dimension.
    pub(super) fn query(&self, query: &[f32], rotation: &Rotation) -> CodeQuery {
        let mut rest = query.to_vec();
        let quantized = match &self.table {
            Table::Bit(BitTable { directions, .. }) => {
                let directions = directions.chunks_exact(self.dim());
                let parts: Vec<f32> =
                    directions.clone().map(|direction| dot(direction, query) as f32).collect();
                // Rows have nothing left in the directions, so there the query has only noise for them.
                parts
                    .iter()
                    .zip(directions)
                    .for_each(|(&part, direction)| subtract(&mut rest, part, direction));
                rest.resize(rotation.width(), 0.0);
                rotation.apply(&mut rest);
                Quantized::Bit { principal: Int8Query::new(&parts), rest: BitQuery::new(&rest) }
            }
            Table::Int8(_) => {
                rest.resize(rotation.width(), 0.0);
                rotation.apply(&mut rest);
                Quantized::Int8(Int8Query::new(&rest))
            }
        };
        CodeQuery { offset: dot(query, &self.centre) as f32, quantized }
    }

    /// Estimates the cosines of rows with a query. `rows` begins at a multiple of [`bit::GROUP`].
    pub(super) fn estimate(&self, query: &CodeQuery, rows: Range<usize>, out: &mut [f32]) {
        let width = rotation::width(self.dim());
        let factors = &self.factors[rows.clone()];
        Arch::new().dispatch(|| {
            match (&self.table, &query.quantized) {
                (Table::Bit(table), Quantized::Bit { principal, rest }) => {
                    let (words, count) = (width / 64, table.directions.len() / self.dim());
                    let coefficients = &table.coefficients[rows.start * count..rows.end * count];
                    principal.estimate(coefficients, &table.coefficient_factors[rows.clone()], out);
                    let groups = rows.start / bit::GROUP..rows.end.div_ceil(bit::GROUP);
                    rest.add_estimates(&table.signs[groups.start * words..groups.end * words], factors, out);
                }
                (Table::Int8(codes), Quantized::Int8(query)) => {
                    query.estimate(&codes[rows.start * width..rows.end * width], factors, out);
                }
                // `query` makes queries of the kind of the codes.
                _ => out.fill(f32::NAN),
            }
            out.iter_mut().for_each(|value| *value += query.offset);
        });
    }
}

/// Subtracts a multiple of a direction, which may be shorter.
#[inline(always)]
fn subtract(values: &mut [f32], multiple: f32, direction: &[f32]) {
    values.iter_mut().zip(direction).for_each(|(value, direction)| *value -= multiple * direction);
}

struct Encoder<'a, F> {
    source: &'a dyn FeatureSource,
    centre: &'a [f32],
    /// Values of a row with those that the rotation adds.
    width: usize,
    progress: ProgressCounter<F>,
}

impl<F: FnMut(Progress) + Send> Encoder<'_, F> {
    /// Calls `encode` with each row of each block: its index there, its difference to the centre with zeros up to the width,
    /// and what the block is encoded to.
    fn run<O: Send>(
        &self,
        blocks: impl IndexedParallelIterator<Item = O>,
        encode: impl Fn(usize, &mut [f32], &mut O) + Sync,
    ) -> Result<(), FeatureError> {
        let dim = self.source.dim();
        blocks.enumerate().try_for_each(|(block, mut out)| {
            let rows: Vec<usize> = (block * BLOCK..self.source.rows().min((block + 1) * BLOCK)).collect();
            let mut values = vec![0.0; rows.len() * dim];
            gather_checked(self.source, &rows, &mut values)?;
            let mut padded = vec![0.0; self.width];
            Arch::new().dispatch(|| {
                for (index, row) in values.chunks_exact_mut(dim).enumerate() {
                    centre_row(row, self.centre);
                    padded[..dim].copy_from_slice(row);
                    padded[dim..].fill(0.0);
                    encode(index, &mut padded, &mut out);
                }
            });
            self.progress.add(rows.len() as u64);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use sail_data::MatrixFeatures;

    use super::*;

    /// The mean of the errors of estimates and the root of their mean square.
    fn errors(kind: CodeKind, count: usize, dim: usize) -> (f64, f64) {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f32 / (1u64 << 53) as f32 - 0.5
        };
        // Away from zero, with about the variance of a normal distribution in every dimension.
        let rows: Vec<f32> = (0..count * dim).map(|_| 1.0 + uniform() + uniform() + uniform()).collect();
        let source = MatrixFeatures::new(dim, rows.clone()).unwrap();
        let centre = crate::centre(&source, |_| {}).unwrap();
        let codes = Codes::encode(&source, kind, centre, |_| {}).unwrap();
        let rotation = Rotation::new(dim);
        let (mut sum, mut squares, queries) = (0.0, 0.0, 8);
        for _ in 0..queries {
            let query: Vec<f32> = (0..dim).map(|_| uniform() + uniform()).collect();
            let scale = 1.0 / dot(&query, &query).sqrt() as f32;
            let query: Vec<f32> = query.iter().map(|value| value * scale).collect();
            let mut estimates = vec![0.0; count];
            codes.estimate(&codes.query(&query, &rotation), 0..count, &mut estimates);
            for (row, estimate) in rows.chunks_exact(dim).zip(estimates) {
                let error = f64::from(estimate) - dot(row, &query) / dot(row, row).sqrt();
                sum += error;
                squares += error * error;
            }
        }
        let total = (count * queries) as f64;
        (sum / total, (squares / total).sqrt())
    }

    #[test]
    fn estimates_are_unbiased_with_the_error_of_the_theory() {
        let (count, dim) = (1000, 512);
        // The rows deviate from the centre by sqrt(0.25 / (1 + 0.25)) of their length. Signs of normal values explain 2 / pi
        // of it; the rest is an error in a random direction.
        let unexplained = (std::f64::consts::FRAC_PI_2 - 1.0).sqrt();
        let expected = 0.2f64.sqrt() * unexplained / (dim as f64).sqrt();
        let (bias, deviation) = errors(CodeKind::Bit, count, dim);
        assert!(bias.abs() < 0.05 * deviation, "{bias} {deviation}");
        assert!(deviation < 1.1 * expected && deviation > 0.8 * expected, "{deviation} {expected}");
        let (bias, deviation) = errors(CodeKind::Int8, count, dim);
        assert!(deviation < 0.02 * expected && bias.abs() < 0.1 * deviation, "{bias} {deviation} {expected}");
    }
}
