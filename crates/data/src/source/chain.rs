//! Concatenation of sources.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::record::{RecordSource, Records};
use crate::DataError;

/// A concatenation of sources. A part is counted at most once, and only if iteration starts after it.
pub(super) struct Chain<T> {
    parts: Arc<Vec<Part<T>>>,
}

struct Part<T> {
    source: Box<dyn RecordSource<T>>,
    count: OnceLock<u64>,
}

impl<T> Part<T> {
    fn count(&self) -> Result<u64, DataError> {
        if let Some(&count) = self.count.get() {
            return Ok(count);
        }
        let count = self.source.count()?;
        Ok(*self.count.get_or_init(|| count))
    }
}

impl<T> Chain<T> {
    pub(super) fn new(sources: Vec<Box<dyn RecordSource<T>>>) -> Self {
        let part = |source| Part { source, count: OnceLock::new() };
        Self { parts: Arc::new(sources.into_iter().map(part).collect()) }
    }
}

impl<T: 'static> RecordSource<T> for Chain<T> {
    fn count(&self) -> Result<u64, DataError> {
        self.parts.iter().try_fold(0, |sum, part| Ok(sum + part.count()?))
    }

    fn records(&self, range: Range<u64>) -> Result<Records<T>, DataError> {
        let mut skip = range.start;
        let mut first = 0;
        while let Some(part) = self.parts.get(first).filter(|_| skip > 0) {
            let count = part.count()?;
            if skip < count {
                break;
            }
            skip -= count;
            first += 1;
        }
        let left = range.end.saturating_sub(range.start);
        Ok(Box::new(Walk { parts: Arc::clone(&self.parts), next: first, skip, left, current: None }))
    }
}

struct Walk<T> {
    parts: Arc<Vec<Part<T>>>,
    next: usize,
    skip: u64,
    left: u64,
    current: Option<Records<T>>,
}

impl<T> Iterator for Walk<T> {
    type Item = <Records<T> as Iterator>::Item;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            if let Some(item) = self.current.as_mut().and_then(Iterator::next) {
                self.left = if item.is_ok() { self.left - 1 } else { 0 };
                return Some(item);
            }
            let part = self.parts.get(self.next)?;
            self.next += 1;
            let start = std::mem::take(&mut self.skip);
            match part.source.records(start..start.saturating_add(self.left)) {
                Ok(records) => self.current = Some(records),
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
