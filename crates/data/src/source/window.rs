//! Ranges of an iterator.

use std::ops::Range;

use super::record::{Record, Records};
use crate::DataError;

/// The items at a range of positions, up to the first error. An error before the range is also returned.
pub(super) struct Window<I> {
    inner: I,
    skip: u64,
    take: u64,
}

impl<I> Window<I> {
    /// Creates a window on an iterator that starts at position `first`.
    pub(super) fn new(inner: I, first: u64, range: &Range<u64>) -> Self {
        Self { inner, skip: range.start.saturating_sub(first), take: range.end.saturating_sub(range.start) }
    }
}

impl<T, I: Iterator<Item = Result<T, DataError>>> Iterator for Window<I> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.take > 0 {
            match self.inner.next() {
                Some(Ok(_)) if self.skip > 0 => self.skip -= 1,
                Some(Ok(item)) => {
                    self.take -= 1;
                    return Some(Ok(item));
                }
                Some(Err(error)) => {
                    self.take = 0;
                    return Some(Err(error));
                }
                None => self.take = 0,
            }
        }
        None
    }
}

/// Counts the items.
pub(super) fn count<T>(mut items: impl Iterator<Item = Result<T, DataError>>) -> Result<u64, DataError> {
    items.try_fold(0, |sum, item| item.map(|_| sum + 1))
}

/// Returns the records at a range of positions of a source with `len` records in memory.
pub(super) fn positions<T: 'static>(
    range: Range<u64>,
    len: usize,
    record: impl Fn(usize) -> Record<T> + Send + 'static,
) -> Records<T> {
    let end = range.end.min(len as u64) as usize;
    let start = range.start.min(len as u64) as usize;
    Box::new((start..end).map(move |position| Ok(record(position))))
}
