//! Nearest-neighbour search by cosine.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_core::{Check, ensure};
use sail_support::{TopScores, ranges};
use serde::{Deserialize, Serialize};

use crate::unit_rows::{UnitRows, product_transposed, same_dim};
use crate::{BlockSize, EvalError};

/// A match of a query in the gallery.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Index of the gallery row.
    pub index: usize,
    /// Cosine with the query, in -1 to 1 up to rounding.
    pub score: f32,
}

/// Finds the `k` rows of the gallery with the highest cosine for every query, best first. Equal scores are ordered by
/// index.
///
/// The embeddings need not be normalised. Memory beyond them and the result is a few blocks, and `2 k` matches for each
/// of their queries.
///
/// # Shapes
/// - queries: `[n_queries, dim]`
/// - gallery: `[n_gallery, dim]`
/// - output: `n_queries` lists of `min(k, n_gallery)` matches
///
/// # Errors
/// [`EvalError`] if `k` is 0, if a side is empty or the two differ in dimension, if an embedding is not finite or all
/// zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, top_k};
/// let device = Device::flex();
/// let query = Tensor::<2>::from_floats([[1.0, 0.0]], &device);
/// let gallery = Tensor::<2>::from_floats([[0.0, 1.0], [2.0, 0.0], [-1.0, 0.0]], &device);
/// let found = top_k(query, gallery, 2, &BlockSize::default())?;
/// assert_eq!((found[0][0].index, found[0][0].score), (1, 1.0));
/// assert_eq!(found[0][1].index, 0);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn top_k(
    queries: Tensor<2>,
    gallery: Tensor<2>,
    k: usize,
    block: &BlockSize,
) -> Result<Vec<Vec<Match>>, EvalError> {
    block.check()?;
    ensure(k > 0, "k", k, "at least 1")?;
    let queries = UnitRows::new(queries, "query")?;
    let gallery = UnitRows::new(gallery, "gallery row")?;
    same_dim(&queries, &gallery)?;
    let k = k.min(gallery.len());
    let mut found = Vec::with_capacity(queries.len());
    search(&queries, &gallery, k, false, block, |best| match found.last_mut() {
        Some(list) if Vec::len(list) < k => list.push(best),
        _ => {
            let mut list = Vec::with_capacity(k);
            list.push(best);
            found.push(list);
        }
    })?;
    Ok(found)
}

/// Blocks of queries per block of the gallery, which is read, normalised and transposed once for all of them.
const QUERY_BLOCKS: usize = 8;

/// Calls `take` with the `k` best matches of each query, query by query and best first. With `exclude_self`, queries and
/// gallery are the same rows and a row does not match itself. `k` must not exceed the number of candidates.
pub(crate) fn search(
    queries: &UnitRows,
    gallery: &UnitRows,
    k: usize,
    exclude_self: bool,
    block: &BlockSize,
    mut take: impl FnMut(Match),
) -> Result<(), EvalError> {
    for together in ranges(queries.len(), block.rows.saturating_mul(QUERY_BLOCKS)) {
        let (first, count) = (together.start, together.len());
        let mut top: Vec<TopScores> = together.map(|_| TopScores::new(k)).collect();
        let query_tensors = ranges(count, block.rows)
            .map(|q| Ok(queries.upload(queries.read(first + q.start..first + q.end)?)))
            .collect::<Result<Vec<_>, EvalError>>()?;
        for g in ranges(gallery.len(), block.columns) {
            let gallery_tensor = gallery.upload_transposed(&gallery.read(g.clone())?);
            let tiles = query_tensors.iter().zip(top.chunks_mut(block.rows)).zip(ranges(count, block.rows));
            for ((query_tensor, top), q) in tiles {
                let mut scores = product_transposed(query_tensor, &gallery_tensor)?;
                let scores = scores.values()?;
                for row in q.filter(|row| exclude_self && g.contains(&(first + row))) {
                    scores[row % block.rows * g.len() + (first + row - g.start)] = f32::NEG_INFINITY;
                }
                top.par_iter_mut()
                    .zip(scores.par_chunks_exact(g.len()))
                    .for_each(|(top, scores)| top.extend(g.start, scores, |_| true));
            }
        }
        let lists: Vec<_> = top.into_par_iter().map(TopScores::finish).collect();
        lists.into_iter().flatten().for_each(|(index, score)| take(Match { index, score }));
    }
    Ok(())
}
