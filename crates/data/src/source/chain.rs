//! Concatenation of sources.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::once::once;
use super::passed_over::PassedOver;
use super::record::{RecordSource, Records};
use super::seen::Seen;
use crate::DataError;

/// A concatenation of sources. A part is counted at most once, and only if iteration starts after it.
pub(super) struct Chain<T> {
    parts: Arc<Vec<Part<T>>>,
    /// The files of the parts, if no two of them may have the same key.
    distinct: Option<Vec<PathBuf>>,
    /// Files beside those of the parts.
    passed_over: PassedOver,
}

struct Part<T> {
    source: Box<dyn RecordSource<T>>,
    count: OnceLock<u64>,
}

impl<T> Part<T> {
    fn count(&self) -> Result<u64, DataError> {
        once(&self.count, || self.source.count()).copied()
    }
}

impl<T> Chain<T> {
    pub(super) fn new(
        sources: Vec<Box<dyn RecordSource<T>>>,
        distinct: Option<Vec<PathBuf>>,
        passed_over: PassedOver,
    ) -> Self {
        let part = |source| Part { source, count: OnceLock::new() };
        Self { parts: Arc::new(sources.into_iter().map(part).collect()), distinct, passed_over }
    }

    /// Checks that no two parts have the same key.
    fn check_keys(&self, files: &[PathBuf]) -> Result<(), DataError> {
        let mut seen = Seen::default();
        for (index, (part, path)) in self.parts.iter().zip(files).enumerate() {
            let mut count = 0;
            for record in part.source.records(0..u64::MAX)? {
                let record = record?;
                count += 1;
                let earlier = seen.insert(&record.key, index).filter(|&earlier| earlier != index);
                if let Some(earlier) = earlier.filter(|_| record.value.is_ok()) {
                    let (first, path) = (files[earlier].clone(), path.clone());
                    return Err(DataError::KeyInFiles { key: record.key, first, path });
                }
            }
            part.count.get_or_init(|| count);
        }
        Ok(())
    }
}

impl<T: 'static> RecordSource<T> for Chain<T> {
    fn count(&self) -> Result<u64, DataError> {
        if let Some(files) = &self.distinct {
            self.check_keys(files)?;
        }
        self.parts.iter().try_fold(0, |sum, part| Ok(sum + part.count()?))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        self.parts.iter().try_fold(self.passed_over.clone(), |mut all, part| {
            all.merge(&part.source.passed_over()?);
            Ok(all)
        })
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
