//! Progress of long operations.

use std::sync::{Mutex, PoisonError};

/// The progress of a long operation, as passed to a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Amount of work done so far.
    pub done: u64,
    /// Amount of work in total.
    pub total: u64,
    /// What is counted, such as `rows` or `bytes`.
    pub unit: &'static str,
}

/// Counts the work of several threads and reports it in order, from one thread at a time.
///
/// # Examples
/// ```
/// use sail_support::{Progress, ProgressCounter};
/// let counter = ProgressCounter::new(10, "rows", |progress: Progress| assert_eq!(progress.total, 10));
/// std::thread::scope(|scope| {
///     scope.spawn(|| counter.add(4));
///     scope.spawn(|| counter.add(6));
/// });
/// ```
pub struct ProgressCounter<F> {
    state: Mutex<(Progress, F)>,
}

impl<F: FnMut(Progress)> ProgressCounter<F> {
    /// Creates a counter at 0 of `total`, with the callback that receives every report.
    pub fn new(total: u64, unit: &'static str, report: F) -> Self {
        Self { state: Mutex::new((Progress { done: 0, total, unit }, report)) }
    }

    /// Adds finished work and reports the new state.
    pub fn add(&self, done: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, report) = &mut *state;
        progress.done += done;
        report(*progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_many_threads_are_in_order() {
        let reports = Mutex::new(Vec::new());
        let counter = ProgressCounter::new(400, "rows", |progress| reports.lock().unwrap().push(progress));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| counter.add(1)));
            }
        });
        let expected: Vec<_> = (1..=400).map(|done| Progress { done, total: 400, unit: "rows" }).collect();
        assert_eq!(*reports.lock().unwrap(), expected);
    }
}
