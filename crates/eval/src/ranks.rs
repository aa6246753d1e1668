//! Ranks from scores, and recalls from ranks.

use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Cosines that differ by less than this are tied.
///
/// It is about the rounding error of an f32 cosine, so a smaller difference has no meaning.
pub const TIE_TOLERANCE: f64 = 1e-6;

/// Returns the rank of the correct answer: 1 plus the number of other answers that score at least as high, up to
/// [`TIE_TOLERANCE`]. Ties and NaN count against the correct answer.
///
/// # Examples
/// ```
/// use sail_eval::rank;
/// assert_eq!(rank(0.8, [0.9, 0.8, 0.7]), 3);
/// assert_eq!(rank(0.8, []), 1);
/// ```
pub fn rank(target: f64, others: impl IntoIterator<Item = f64>) -> usize {
    let threshold = target - TIE_TOLERANCE;
    let below = |other: &f64| *other < threshold;
    1 + others.into_iter().filter(|other| !below(other)).count()
}

/// Recalls at 1, 5 and 10 in percent, mean rank and median rank of one direction of retrieval.
///
/// Serialises as `{"r@1": .., "r@5": .., "r@10": .., "mean_rank": .., "median_rank": ..}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetrievalScores {
    /// Percentage of queries whose correct answer has rank 1.
    #[serde(rename = "r@1")]
    pub r1: f64,
    /// Percentage of queries whose correct answer has rank 5 or better.
    #[serde(rename = "r@5")]
    pub r5: f64,
    /// Percentage of queries whose correct answer has rank 10 or better.
    #[serde(rename = "r@10")]
    pub r10: f64,
    /// Mean rank, at least 1.
    pub mean_rank: f64,
    /// Median rank, at least 1; the mean of the middle two for an even number of queries.
    pub median_rank: f64,
}

impl RetrievalScores {
    /// Summarises the ranks of the correct answers, one per query, counted from 1.
    ///
    /// # Errors
    /// [`EvalError::Empty`] without queries.
    ///
    /// # Examples
    /// ```
    /// let scores = sail_eval::RetrievalScores::from_ranks(&[1, 2, 6, 100])?;
    /// assert_eq!([scores.r1, scores.r5, scores.r10], [25.0, 50.0, 75.0]);
    /// assert_eq!([scores.mean_rank, scores.median_rank], [27.25, 4.0]);
    /// # Ok::<(), sail_eval::EvalError>(())
    /// ```
    pub fn from_ranks(ranks: &[usize]) -> Result<Self, EvalError> {
        if ranks.is_empty() {
            return Err(EvalError::Empty { what: "rank" });
        }
        let mut sorted = ranks.to_vec();
        sorted.sort_unstable();
        let n = sorted.len();
        Ok(Self {
            r1: hit_rate(ranks, 1),
            r5: hit_rate(ranks, 5),
            r10: hit_rate(ranks, 10),
            mean_rank: sorted.iter().map(|&rank| rank as f64).sum::<f64>() / n as f64,
            median_rank: (sorted[(n - 1) / 2] as f64 + sorted[n / 2] as f64) / 2.0,
        })
    }
}

/// The percentage of ranks that are at most `k`.
pub(crate) fn hit_rate(ranks: &[usize], k: usize) -> f64 {
    let hits = ranks.iter().filter(|&&rank| rank <= k).count();
    100.0 * hits as f64 / ranks.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_within_the_tolerance_count_against_the_target() {
        assert_eq!(rank(0.5, [0.5 - 0.9e-6, 0.5 - 1.1e-6, -1.0]), 2);
        assert_eq!(rank(0.5, [f64::NAN]), 2);
    }

    #[test]
    fn median_of_an_odd_number_of_ranks() {
        let scores = RetrievalScores::from_ranks(&[7, 1, 3]).unwrap();
        assert_eq!(scores.median_rank, 3.0);
        assert!(RetrievalScores::from_ranks(&[]).is_err());
    }

    #[test]
    fn serializes_with_the_documented_names() {
        let scores = RetrievalScores::from_ranks(&[1]).unwrap();
        let json = serde_json::to_string(&scores).unwrap();
        assert_eq!(json, r#"{"r@1":100.0,"r@5":100.0,"r@10":100.0,"mean_rank":1.0,"median_rank":1.0}"#);
        assert_eq!(serde_json::from_str::<RetrievalScores>(&json).unwrap(), scores);
    }
}
