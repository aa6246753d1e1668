//! Nearest-neighbour search by cosine.

use std::cmp::Ordering;

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_core::{Check, ensure};
use sail_support::ranges;
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

/// Scores that are compared with the floor at a time.
const SEGMENT: usize = 64;
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
        let mut running: Vec<Running> = together.map(|_| Running::new(k)).collect();
        let query_tensors = ranges(count, block.rows)
            .map(|q| Ok(queries.upload(queries.read(first + q.start..first + q.end)?)))
            .collect::<Result<Vec<_>, EvalError>>()?;
        for g in ranges(gallery.len(), block.columns) {
            let gallery_tensor = gallery.upload_transposed(&gallery.read(g.clone())?);
            let tiles =
                query_tensors.iter().zip(running.chunks_mut(block.rows)).zip(ranges(count, block.rows));
            for ((query_tensor, running), q) in tiles {
                let mut scores = product_transposed(query_tensor, &gallery_tensor)?;
                let scores = scores.values()?;
                for row in q.filter(|row| exclude_self && g.contains(&(first + row))) {
                    scores[row % block.rows * g.len() + (first + row - g.start)] = f32::NEG_INFINITY;
                }
                running
                    .par_iter_mut()
                    .zip(scores.par_chunks_exact(g.len()))
                    .for_each(|(running, scores)| running.extend(g.start, scores));
            }
        }
        let lists: Vec<Vec<Match>> = running.into_par_iter().map(Running::finish).collect();
        lists.into_iter().flatten().for_each(&mut take);
    }
    Ok(())
}

/// The best `k` matches so far, among at most `2 k`.
struct Running {
    k: usize,
    matches: Vec<Match>,
    /// The score that further matches must exceed.
    floor: f32,
}

impl Running {
    fn new(k: usize) -> Self {
        Self { k, matches: Vec::new(), floor: f32::NEG_INFINITY }
    }

    fn extend(&mut self, first: usize, scores: &[f32]) {
        for (part, scores) in scores.chunks(SEGMENT).enumerate() {
            // Most segments have no new match, which this vectorised check finds out.
            let any = scores.iter().fold(false, |any, &score| any | (score > self.floor));
            if any {
                self.take(first + part * SEGMENT, scores);
            }
        }
    }

    fn take(&mut self, first: usize, scores: &[f32]) {
        for (offset, &score) in scores.iter().enumerate() {
            if score > self.floor {
                // Adding zero turns -0.0 into 0.0, which `total_cmp` distinguishes.
                let (index, score) = (first + offset, score + 0.0);
                self.matches.push(Match { index, score });
                if self.matches.len() == 2 * self.k {
                    self.matches.select_nth_unstable_by(self.k - 1, best_first);
                    self.matches.truncate(self.k);
                    // Indices increase, so a later match with an equal score loses the tie.
                    self.floor = self.matches[self.k - 1].score;
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Match> {
        self.matches.sort_unstable_by(best_first);
        self.matches.truncate(self.k);
        self.matches.shrink_to_fit();
        self.matches
    }
}

fn best_first(a: &Match, b: &Match) -> Ordering {
    b.score.total_cmp(&a.score).then(a.index.cmp(&b.index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_both_signs_are_tied() {
        let mut running = Running::new(3);
        running.extend(10, &[-0.0, 0.0, -0.5, -0.0]);
        running.extend(14, &[0.0, 0.5]);
        let found: Vec<usize> = running.finish().iter().map(|found| found.index).collect();
        assert_eq!(found, [15, 10, 11]);
    }
}
