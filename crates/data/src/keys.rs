//! Going over many keys.

use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource};

/// How many keys a thread reads at a time.
const BLOCK: usize = 4096;
/// How many results there are at a time.
const BLOCKS: usize = 16;

/// Computes something of the keys of `total` rows, in parallel, and hands it over in order. `row` is the row that
/// comes at a place.
pub(crate) fn for_each_key<T: Send>(
    source: &dyn FeatureSource,
    total: usize,
    row: impl Fn(usize) -> usize + Sync,
    map: impl Fn(&str) -> T + Sync,
    mut each: impl FnMut(usize, T),
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
        for (place, result) in (start..).zip(blocks.into_iter().flatten()) {
            each(place, result);
        }
    }
    Ok(())
}
