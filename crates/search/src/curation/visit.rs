//! Visits rows in order and keeps those that are not near one that was kept before.

use sail_core::{FeatureError, FeatureSource, Progress};
use sail_support::ranges;

use super::nearest::{Near, Nearest, Vectors, earlier_neighbors, update};

/// Rows that are compared with each other before those that stay are known.
const GROUP: usize = 1024;
/// Bytes of the rows of a block, each of which is compared with all rows that were kept before it.
const BLOCK_BYTES: usize = 64 << 20;

/// Returns the rows that are near one that was kept before, in order: the row, the nearest of these, and their cosines. The other
/// rows are kept. The sources have the same number of rows; `block` of them are in memory, or as many as fit.
pub(super) fn visit<const N: usize>(
    sources: [&dyn FeatureSource; N],
    near: &Near<N>,
    block: Option<usize>,
    mut progress: impl FnMut(Progress),
) -> Result<Vec<(usize, usize, [f64; N])>, FeatureError> {
    let total = sources.first().map_or(0, |source| source.rows());
    let dim: usize = sources.iter().map(|source| source.dim()).sum();
    let block = block.unwrap_or_else(|| (BLOCK_BYTES / (4 * dim.max(1)) / GROUP * GROUP).max(GROUP));
    let (mut kept, mut duplicates) = (Vec::new(), Vec::new());
    for rows in ranges(total, block) {
        let first = rows.start;
        let vectors = Vectors::read(sources, &rows.collect::<Vec<_>>())?;
        let mut nearest: Vec<Nearest<N>> = vec![None; vectors.len()];
        for earlier in kept.chunks(block) {
            let columns = Vectors::read(sources, earlier)?;
            update(&mut nearest, (&vectors, 0..vectors.len()), (&columns, earlier), near);
        }
        let before = kept.len();
        let mut kept_vectors = Vectors::empty(sources);
        for group in ranges(vectors.len(), GROUP) {
            let of_block = (&kept_vectors, &kept[before..]);
            update(&mut nearest[group.clone()], (&vectors, group.clone()), of_block, near);
            let neighbors = earlier_neighbors(&vectors, group.clone(), near);
            for (row, neighbors) in group.clone().zip(neighbors) {
                let mut found = nearest[row];
                for (offset, cosines) in neighbors {
                    let other = group.start + offset;
                    let is_nearer = |(_, best)| near.margin(cosines) > near.margin(best);
                    if nearest[other].is_none() && found.is_none_or(is_nearer) {
                        found = Some((first + other, cosines));
                    }
                }
                nearest[row] = found;
                match found {
                    None => {
                        kept.push(first + row);
                        kept_vectors.push(&vectors, row);
                    }
                    Some((kept, cosines)) => duplicates.push((first + row, kept, cosines)),
                }
            }
            progress(Progress { done: (first + group.end) as u64, total: total as u64, unit: "rows" });
        }
    }
    Ok(duplicates)
}
