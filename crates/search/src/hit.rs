//! One result of a search.

use std::cmp::Ordering;

/// A row and its similarity to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Index of the row in the collection that was searched.
    pub row: usize,
    /// Cosine similarity, in -1 to 1 up to rounding.
    pub score: f32,
}

impl Hit {
    /// Orders hits as results are: the most similar first, and of equal scores the lowest row.
    #[must_use]
    pub fn rank(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}
