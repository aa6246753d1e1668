//! Statistics of features, usable or not.

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, Progress, ProgressCounter};
use sail_support::KeyTable;
use serde::Serialize;

use crate::key_sample::KeySample;
use crate::keys::for_each_key;

/// Number of values in a block.
const BLOCK: usize = 1 << 18;

/// Statistics of the L2 norms of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Norms {
    /// The smallest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

/// What [`statistics`] returns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureStatistics {
    /// Norms of the rows that are finite, if there are any.
    pub norms: Option<Norms>,
    /// Rows with a NaN or an infinity.
    pub not_finite: KeySample,
    /// Rows of zeros, which have no direction.
    pub zeros: KeySample,
    /// Number of different keys, or `None` if the rows have no keys.
    pub distinct_keys: Option<usize>,
    /// Rows whose key an earlier row has: more captions of an image, or an image that occurs twice.
    pub repeated_keys: KeySample,
}

impl FeatureStatistics {
    /// Returns the number of rows that training and evaluation refuse.
    pub fn unusable(&self) -> usize {
        self.not_finite.count + self.zeros.count
    }
}

/// A block of rows.
#[derive(Default)]
struct Block {
    not_finite: Vec<usize>,
    zeros: Vec<usize>,
    finite: usize,
    sum: f64,
    range: Option<(f64, f64)>,
}

/// Reads all rows and keys and describes them. Rows that cannot be used are counted and named. `progress` counts rows.
///
/// # Errors
/// Those of reading.
///
/// # Examples
/// ```
/// use sail_data::{MatrixFeatures, statistics};
/// let features = MatrixFeatures::new(2, vec![3.0, 4.0, 0.0, 0.0, f32::NAN, 1.0])?.with_keys(["a", "b", "a"])?;
/// let found = statistics(&features, |_| {})?;
/// assert_eq!(found.norms.map(|norms| norms.max), Some(5.0));
/// assert_eq!((found.zeros.to_string(), found.not_finite.to_string()), ("`b`".into(), "`a`".into()));
/// assert_eq!((found.distinct_keys, found.repeated_keys.count), (Some(2), 1));
/// # Ok::<(), sail_data::DataError>(())
/// ```
pub fn statistics(
    source: &dyn FeatureSource,
    progress: impl FnMut(Progress) + Send,
) -> Result<FeatureStatistics, FeatureError> {
    let blocks = blocks(source, progress)?;
    // In the order of the blocks, so that the sum does not depend on the threads.
    let (mut finite, mut sum, mut range) = (0, 0.0, None::<(f64, f64)>);
    let [mut not_finite, mut zeros] = [KeySample::default(), KeySample::default()];
    for block in &blocks {
        finite += block.finite;
        sum += block.sum;
        range = match (range, block.range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (range, other) => range.or(other),
        };
        block.not_finite.iter().try_for_each(|&row| not_finite.add_row(source, row))?;
        block.zeros.iter().try_for_each(|&row| zeros.add_row(source, row))?;
    }
    let norms = range.map(|(min, max)| Norms { min, mean: sum / finite as f64, max });
    let mut repeated_keys = KeySample::default();
    let distinct_keys = match source.positional() {
        true => None,
        false => {
            let mut keys = KeyTable::with_capacity(source.rows());
            let hasher = keys.hasher();
            for_each_key(
                source,
                source.rows(),
                |row| row,
                |key| hasher.hash(key),
                |row, key| match keys.insert(key, ()) {
                    None => Ok(()),
                    Some(()) => repeated_keys.add_row(source, row),
                },
            )?;
            Some(source.rows() - repeated_keys.count)
        }
    };
    Ok(FeatureStatistics { norms, not_finite, zeros, distinct_keys, repeated_keys })
}

/// Returns the rows that training and evaluation refuse, in order: those with a NaN, an infinity, or zeros only. `progress`
/// counts rows.
///
/// # Errors
/// Those of reading.
pub fn unusable_rows(
    source: &dyn FeatureSource,
    progress: impl FnMut(Progress) + Send,
) -> Result<Vec<usize>, FeatureError> {
    let blocks = blocks(source, progress)?.into_iter();
    let mut rows: Vec<usize> = blocks.flat_map(|block| [block.not_finite, block.zeros].concat()).collect();
    rows.sort_unstable();
    Ok(rows)
}

fn blocks(
    source: &dyn FeatureSource,
    progress: impl FnMut(Progress) + Send,
) -> Result<Vec<Block>, FeatureError> {
    let counter = ProgressCounter::new(source.rows() as u64, "rows", progress);
    let step = (BLOCK / source.dim().max(1)).max(1);
    (0..source.rows().div_ceil(step))
        .into_par_iter()
        .map_init(Vec::new, |values, index| {
            let rows: Vec<usize> = (index * step..source.rows().min((index + 1) * step)).collect();
            let count = rows.len() as u64;
            let block = describe(source, rows, values)?;
            counter.add(count);
            Ok(block)
        })
        .collect()
}

fn describe(
    source: &dyn FeatureSource,
    rows: Vec<usize>,
    values: &mut Vec<f32>,
) -> Result<Block, FeatureError> {
    let dim = source.dim().max(1);
    values.resize(rows.len() * dim, 0.0);
    source.gather(&rows, values)?;
    let mut block = Block::default();
    for (row, values) in rows.into_iter().zip(values.chunks_exact(dim)) {
        let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            block.not_finite.push(row);
            continue;
        }
        if norm == 0.0 {
            block.zeros.push(row);
        }
        block.finite += 1;
        block.sum += norm;
        let (min, max) = block.range.unwrap_or((norm, norm));
        block.range = Some((min.min(norm), max.max(norm)));
    }
    Ok(block)
}
