//! Scores of single held-out pairs, which a bootstrap resamples.

use sail_eval::RetrievalRanks;
use serde::{Deserialize, Serialize};

/// The score of each held-out pair, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hits(Vec<f32>);

/// The paper scores a probe by the mean recall at 10 (arXiv 2412.04616, figure 2).
const K: usize = 10;

impl Hits {
    /// The recall at 10 of each pair: the mean of both directions, with the mean over several captions.
    pub(crate) fn of_ranks(ranks: &RetrievalRanks, pair_of_text: &[usize]) -> Self {
        let mut texts = vec![(0.0f32, 0.0f32); ranks.i2t.len()];
        for (&pair, &rank) in pair_of_text.iter().zip(&ranks.t2i) {
            texts[pair].0 += f32::from(rank <= K);
            texts[pair].1 += 1.0;
        }
        let of_pair =
            |(&rank, (hits, count)): (&usize, &(f32, f32))| 50.0 * (f32::from(rank <= K) + hits / count);
        Self(ranks.i2t.iter().zip(&texts).map(of_pair).collect())
    }

    /// 100 for a correct prediction, 0 for an incorrect one.
    pub(crate) fn of_classes(predictions: &[usize], labels: &[usize]) -> Self {
        let hit = |(prediction, label)| 100.0 * f32::from(prediction == label);
        Self(predictions.iter().zip(labels).map(hit).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().map(|&hit| f64::from(hit)).sum::<f64>() / self.0.len() as f64
    }

    /// The mean over a sample of pairs.
    pub(crate) fn mean_of(&self, sample: &[usize]) -> f64 {
        sample.iter().map(|&pair| f64::from(self.0[pair])).sum::<f64>() / sample.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_score_both_directions_and_the_mean_of_their_captions() {
        let ranks = RetrievalRanks { i2t: vec![10, 11], t2i: vec![1, 99, 10] };
        let hits = Hits::of_ranks(&ranks, &[0, 0, 1]);
        assert_eq!(hits.0, [75.0, 50.0]);
        assert_eq!((hits.mean(), hits.mean_of(&[0, 0])), (62.5, 75.0));
        assert_eq!(Hits::of_classes(&[1, 2], &[1, 0]).0, [100.0, 0.0]);
    }
}
