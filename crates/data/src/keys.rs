//! Iteration over many keys.

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource};

/// Number of keys that a thread reads at once.
const BLOCK: usize = 4096;
/// Number of blocks in memory.
const BLOCKS: usize = 16;

/// Maps the keys of `total` rows in parallel and passes the results to `each` in order. `row` maps an index in
/// `0..total` to a row.
pub(crate) fn for_each_key<T: Send>(
    source: &dyn FeatureSource,
    total: usize,
    row: impl Fn(usize) -> usize + Sync,
    map: impl Fn(&str) -> T + Sync,
    mut each: impl FnMut(usize, T) -> Result<(), FeatureError>,
) -> Result<(), FeatureError> {
    for start in (0..total).step_by(BLOCK * BLOCKS) {
        let end = total.min(start + BLOCK * BLOCKS);
        let blocks: Vec<Vec<T>> = (start..end)
            .into_par_iter()
            .step_by(BLOCK)
            .map(|start| {
                let rows: Vec<usize> = (start..end.min(start + BLOCK)).map(&row).collect();
                Ok(source.keys(&rows)?.iter().map(|key| map(key)).collect())
            })
            .collect::<Result<_, FeatureError>>()?;
        for (index, result) in (start..).zip(blocks.into_iter().flatten()) {
            each(index, result)?;
        }
    }
    Ok(())
}
