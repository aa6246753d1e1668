//! The highest of many scores.

use std::cmp::Ordering;

/// Scores that are compared with the lowest of the best at a time.
const SEGMENT: usize = 64;

/// The `k` highest scores so far, among at most `2 k` that are kept.
///
/// # Examples
/// ```
/// let mut top = sail_support::TopScores::new(2);
/// top.extend(0, &[0.5, 0.25, 0.75], |_| true);
/// top.extend(3, &[1.0, 0.75], |index| index != 3);
/// assert_eq!(top.finish(), [(2, 0.75), (4, 0.75)]);
/// ```
#[derive(Debug, Clone)]
pub struct TopScores {
    k: usize,
    scores: Vec<(usize, f32)>,
    /// The score that further ones must exceed.
    floor: f32,
}

impl TopScores {
    /// Creates an empty list of the `k` highest scores.
    #[must_use]
    pub fn new(k: usize) -> Self {
        // With a `k` of 0 no score exceeds the floor.
        let floor = if k == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { k, scores: Vec::new(), floor }
    }

    /// Adds consecutive scores, of which the first has the index `first`, where `accept` is true of the index. NaN and
    /// negative infinity are left out. Indices must increase from call to call.
    pub fn extend(&mut self, first: usize, scores: &[f32], accept: impl Fn(usize) -> bool) {
        for (part, scores) in scores.chunks(SEGMENT).enumerate() {
            // Most segments have no score above the floor, which this vectorised check finds out.
            let any = scores.iter().fold(false, |any, &score| any | (score > self.floor));
            if any {
                self.take(first + part * SEGMENT, scores, &accept);
            }
        }
    }

    fn take(&mut self, first: usize, scores: &[f32], accept: &impl Fn(usize) -> bool) {
        for (offset, &score) in scores.iter().enumerate() {
            if score > self.floor && accept(first + offset) {
                // Adding zero turns -0.0 into 0.0, which `total_cmp` distinguishes.
                self.scores.push((first + offset, score + 0.0));
                if self.scores.len() / 2 == self.k {
                    self.scores.select_nth_unstable_by(self.k - 1, highest_first);
                    self.scores.truncate(self.k);
                    // Indices increase, so a later one with an equal score loses the tie.
                    self.floor = self.scores[self.k - 1].1;
                }
            }
        }
    }

    /// Adds the scores of another list, in any order of indices.
    pub fn merge(&mut self, other: Self) {
        self.scores.extend(other.scores);
        self.scores.sort_unstable_by(highest_first);
        self.scores.truncate(self.k);
    }

    /// Returns indices and scores, the highest first, and of equal scores the lowest index.
    #[must_use]
    pub fn finish(mut self) -> Vec<(usize, f32)> {
        self.scores.sort_unstable_by(highest_first);
        self.scores.truncate(self.k);
        self.scores.shrink_to_fit();
        self.scores
    }
}

fn highest_first(a: &(usize, f32), b: &(usize, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_both_signs_are_tied() {
        let mut top = TopScores::new(3);
        top.extend(10, &[-0.0, 0.0, -0.5, -0.0], |_| true);
        top.extend(14, &[0.0, 0.5], |_| true);
        let found: Vec<usize> = top.finish().iter().map(|found| found.0).collect();
        assert_eq!(found, [15, 10, 11]);
    }

    #[test]
    fn parts_in_any_order_give_the_same_list() {
        let scores: Vec<f32> = (0..500).map(|index| (index * 7919 % 50) as f32).collect();
        let mut expected: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
        expected.sort_by(highest_first);
        expected.truncate(30);
        let mut parts = [(); 2].map(|()| TopScores::new(30));
        for (part, chunk) in scores.chunks(90).enumerate() {
            parts[part % 2].extend(part * 90, chunk, |_| true);
        }
        let [mut even, odd] = parts;
        even.merge(odd);
        assert_eq!(even.finish(), expected);
        let mut none = TopScores::new(0);
        none.extend(0, &scores, |_| true);
        assert!(none.finish().is_empty());
    }
}
