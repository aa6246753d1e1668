//! Trustworthiness and continuity of a map.

use burn::tensor::Tensor;
use rayon::prelude::*;
use sail_core::{Check, ensure};
use sail_support::ranges;
use serde::{Deserialize, Serialize};

use super::moments::{check_pairs, check_varied};
use crate::top_k::search;
use crate::unit_rows::{UnitRows, product_transposed};
use crate::{BlockSize, EvalError};

/// Scores in memory at a time, unless that were less than [`LEAST_ROWS`] rows of them.
const SCORES: usize = 1 << 22;
/// Rows per product, at least.
const LEAST_ROWS: usize = 16;

/// How well a map, such as a head, keeps the neighbours of its features (Venna and Kaski 2006).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Neighbourhoods {
    /// Whether neighbours of embeddings are neighbours of their features too: 0 to 1, about 0.5 for random embeddings.
    ///
    /// `1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j (r(i, j) - k)` over the `k` nearest other rows `j` of each embedding `i`,
    /// where `r(i, j)` is the rank of `j` among the rows by the distance of their features from `i`, and only ranks above `k`
    /// count.
    pub trustworthiness: f64,
    /// Whether neighbours of features stay neighbours: trustworthiness with features and embeddings exchanged.
    pub continuity: f64,
}

/// Computes trustworthiness and continuity of the map from features to embeddings, for `k` nearest rows by cosine.
///
/// On unit rows this is scikit-learn's `trustworthiness(features, embeddings, n_neighbors=k)`. Ranks count the rows with a
/// higher cosine, so nothing is sorted; scores are computed for a few rows at a time. Time grows with the square of the number
/// of rows, memory does not.
///
/// # Shapes
/// - features: `[n, dim]`
/// - embeddings: `[n, embedding_dim]`, row `i` computed from row `i` of the features
///
/// # Errors
/// [`EvalError`] for sets of different lengths, if `k` is 0 or not less than half the number of rows, for rows that are not
/// finite, all zeros or all in one direction, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_eval::{BlockSize, neighbourhoods};
/// let features = Tensor::<2>::from_floats(
///     [[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.0, 1.0, 0.2], [0.0, 0.9, 0.3], [0.0, 0.1, 1.0]],
///     &Device::flex(),
/// );
/// let turned = features.clone().flip([1]);
/// let found = neighbourhoods(features, turned, 2, &BlockSize::SEARCH)?;
/// assert_eq!((found.trustworthiness, found.continuity), (1.0, 1.0));
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn neighbourhoods(
    features: Tensor<2>,
    embeddings: Tensor<2>,
    k: usize,
    block: &BlockSize,
) -> Result<Neighbourhoods, EvalError> {
    block.check()?;
    let features = UnitRows::new(features, "feature row")?;
    let embeddings = UnitRows::new(embeddings, "embedding")?;
    check_pairs(&features, &embeddings, 3)?;
    let n = features.len();
    let expected = format_args!("1 to {}, less than half the number of rows", (n - 1) / 2);
    ensure((1..=(n - 1) / 2).contains(&k), "k", k, expected)?;
    check_varied(&features)?;
    check_varied(&embeddings)?;
    Ok(Neighbourhoods {
        trustworthiness: trustworthiness(&features, &embeddings, k, block)?,
        continuity: trustworthiness(&embeddings, &features, k, block)?,
    })
}

/// Whether the neighbours among `mapped` are neighbours among `original`.
fn trustworthiness(
    original: &UnitRows,
    mapped: &UnitRows,
    k: usize,
    block: &BlockSize,
) -> Result<f64, EvalError> {
    let n = original.len();
    let mut neighbours = Vec::with_capacity(n * k);
    search(mapped, mapped, k, true, block, |found| neighbours.push(found.index))?;
    let mut beyond = 0;
    for range in ranges(n, (SCORES / n).clamp(LEAST_ROWS, block.rows.max(LEAST_ROWS))) {
        let rows = original.upload(original.read(range.clone())?);
        let mut scores = vec![0.0; range.len() * n];
        for columns in ranges(n, block.columns) {
            let tile = original.upload_transposed(&original.read(columns.clone())?);
            let mut tile = product_transposed(&rows, &tile)?;
            let tile = tile.values()?.chunks_exact(columns.len());
            for (scores, tile) in scores.chunks_exact_mut(n).zip(tile) {
                scores[columns.clone()].copy_from_slice(tile);
            }
        }
        let row = range.clone().into_par_iter();
        let neighbours = neighbours[range.start * k..range.end * k].par_chunks_exact(k);
        let ranks_beyond = |((row, scores), neighbours): ((usize, &[f32]), &[usize])| -> u64 {
            let beyond = |&neighbour: &usize| {
                let score = scores[neighbour];
                let closer = scores.iter().filter(|&&other| other > score).count();
                // The row itself is no neighbour, and its score may be above or, by rounding, below the others.
                let rank = closer - usize::from(scores[row] > score) + 1;
                rank.saturating_sub(k) as u64
            };
            neighbours.iter().map(beyond).sum()
        };
        beyond += row.zip(scores.par_chunks_exact(n)).zip(neighbours).map(ranks_beyond).sum::<u64>();
    }
    let (n, k) = (n as f64, k as f64);
    Ok(1.0 - beyond as f64 * 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)))
}
