//! Sets of rows.

use std::ops::Range;

/// A set of rows of a collection, as one bit per row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    rows: usize,
}

impl RowSet {
    /// Creates the empty set of a collection of `rows` rows.
    #[must_use]
    pub fn empty(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], rows }
    }

    /// Creates the set of those of `rows` rows for which `contains` is true.
    pub fn from_fn(rows: usize, mut contains: impl FnMut(usize) -> bool) -> Self {
        let mut set = Self::empty(rows);
        for row in (0..rows).filter(|&row| contains(row)) {
            set.insert(row);
        }
        set
    }

    /// Adds a row. A row beyond the collection is ignored.
    pub fn insert(&mut self, row: usize) {
        if row < self.rows {
            self.words[row / 64] |= 1 << (row % 64);
        }
    }

    /// Removes a row.
    pub fn remove(&mut self, row: usize) {
        if row < self.rows {
            self.words[row / 64] &= !(1 << (row % 64));
        }
    }

    /// Returns whether a row is in the set.
    #[must_use]
    pub fn contains(&self, row: usize) -> bool {
        row < self.rows && self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Returns the number of rows of the collection, in the set or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of rows in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns whether the set has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Keeps the rows that are in both sets. Rows that `other` does not have room for are not in it.
    pub fn intersect(&mut self, other: &Self) {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        for (word, other) in self.words.iter_mut().zip(others) {
            *word &= other;
        }
    }

    /// Returns whether the set has any of consecutive rows.
    #[must_use]
    pub fn intersects(&self, rows: Range<usize>) -> bool {
        let (first, last) = (rows.start / 64, rows.end.div_ceil(64).min(self.words.len()));
        // Whole words say no quickly; the first and the last have rows beyond the range.
        self.words.get(first..last).is_some_and(|words| words.iter().any(|&word| word != 0))
            && rows.into_iter().any(|row| self.contains(row))
    }

    /// Iterates over the rows of the set in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                // Clears the lowest bit that is set.
                left &= left.checked_sub(1)?;
                Some(64 * index + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_inserted() {
        let mut even = RowSet::from_fn(130, |row| row % 2 == 0);
        assert_eq!((even.len(), even.rows()), (65, 130));
        assert!(even.contains(128) && !even.contains(129) && !even.contains(130));
        let third = RowSet::from_fn(130, |row| row % 3 == 0);
        even.intersect(&third);
        assert_eq!(even.iter().collect::<Vec<_>>(), (0..130).step_by(6).collect::<Vec<_>>());
        assert!(even.intersects(120..121) && even.intersects(100..200) && !even.intersects(121..126));
        assert!(!even.intersects(130..500) && !even.intersects(6..6));
        even.remove(0);
        even.insert(500);
        assert_eq!(even.iter().next(), Some(6));
        assert_eq!(even.len(), 21);
        even.intersect(&RowSet::empty(10));
        assert!(even.is_empty());
    }
}
