//! Codes of the rows of a collection.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, Progress, ProgressCounter, ensure, gather_checked};

use super::bit::{self, BitQuery, Words};
use super::cosine::dot;
use super::int8::{self, Int8Query};
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
/// A row takes `dim / 8 + 4` bytes as [`CodeKind::Bit`] and `dim + 4` as [`CodeKind::Int8`], with `dim` rounded up to a multiple
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
    /// `[rows / 8, width / 64]`, rounded up.
    Bit(Vec<Words>),
    /// `[rows, width]`.
    Int8(Vec<i8>),
}

/// A query, quantized for codes.
pub(super) struct CodeQuery {
    /// The product with the centre.
    offset: f32,
    quantized: Quantized,
}

enum Quantized {
    Bit(BitQuery),
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
        let rotation = Rotation::new(dim);
        let width = rotation.width();
        let encoder = Encoder {
            source,
            centre: &centre,
            rotation: &rotation,
            progress: ProgressCounter::new(source.rows() as u64, "rows", progress),
        };
        let mut factors = vec![0.0; source.rows()];
        let table = match kind {
            CodeKind::Bit => {
                let words = width / 64;
                let mut codes = vec![Words::ZERO; source.rows().div_ceil(bit::GROUP) * words];
                encoder.run(&mut factors, &mut codes, words * BLOCK / bit::GROUP, |row, values, codes| {
                    let group = &mut codes[row / bit::GROUP * words..][..words];
                    bit::encode(values, group, row % bit::GROUP)
                })?;
                Table::Bit(codes)
            }
            CodeKind::Int8 => {
                let mut codes = vec![0; source.rows() * width];
                encoder.run(&mut factors, &mut codes, width * BLOCK, |row, values, codes| {
                    int8::encode(values, &mut codes[row * width..][..width])
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
            Table::Bit(codes) => size_of_val(codes.as_slice()),
            Table::Int8(codes) => codes.len(),
        };
        table + size_of_val(self.factors.as_slice()) + size_of_val(self.centre.as_slice())
    }

    /// Quantizes a query, given as it is and rotated.
    pub(super) fn query(&self, query: &[f32], rotated: &[f32]) -> CodeQuery {
        let quantized = match self.table {
            Table::Bit(_) => Quantized::Bit(BitQuery::new(rotated)),
            Table::Int8(_) => Quantized::Int8(Int8Query::new(rotated)),
        };
        CodeQuery { offset: dot(query, &self.centre) as f32, quantized }
    }

    /// Estimates the cosines of rows with a query. `rows` begins at a multiple of [`bit::GROUP`].
    pub(super) fn estimate(&self, query: &CodeQuery, rows: Range<usize>, out: &mut [f32]) {
        let width = rotation::width(self.dim());
        let factors = &self.factors[rows.clone()];
        Arch::new().dispatch(|| {
            match (&self.table, &query.quantized) {
                (Table::Bit(codes), Quantized::Bit(query)) => {
                    let words = width / 64;
                    let groups = rows.start / bit::GROUP..rows.end.div_ceil(bit::GROUP);
                    query.estimate(&codes[groups.start * words..groups.end * words], factors, out);
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

struct Encoder<'a, F> {
    source: &'a dyn FeatureSource,
    centre: &'a [f32],
    rotation: &'a Rotation,
    progress: ProgressCounter<F>,
}

impl<F: FnMut(Progress) + Send> Encoder<'_, F> {
    /// Calls `encode` with each row of a block, its index there and the codes of the block, `chunk` elements, for its factor.
    fn run<T: Send>(
        &self,
        factors: &mut [f32],
        codes: &mut [T],
        chunk: usize,
        encode: impl Fn(usize, &[f32], &mut [T]) -> f32 + Sync,
    ) -> Result<(), FeatureError> {
        let dim = self.source.dim();
        let blocks = factors.par_chunks_mut(BLOCK).zip(codes.par_chunks_mut(chunk)).enumerate();
        blocks.try_for_each(|(block, (factors, codes))| {
            let rows: Vec<usize> = (block * BLOCK..block * BLOCK + factors.len()).collect();
            let mut values = vec![0.0; rows.len() * dim];
            gather_checked(self.source, &rows, &mut values)?;
            let mut rotated = vec![0.0; self.rotation.width()];
            Arch::new().dispatch(|| {
                for (index, (row, factor)) in values.chunks_exact(dim).zip(&mut *factors).enumerate() {
                    let scale = 1.0 / dot(row, row).sqrt();
                    rotated[dim..].fill(0.0);
                    for ((out, &value), &centre) in rotated.iter_mut().zip(row).zip(self.centre) {
                        *out = (f64::from(value) * scale - f64::from(centre)) as f32;
                    }
                    self.rotation.apply(&mut rotated);
                    *factor = encode(index, &rotated, codes);
                }
            });
            self.progress.add(rows.len() as u64);
            Ok(())
        })
    }
}
