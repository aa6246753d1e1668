//! A handle that stops a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops a run from another thread or a signal handler: after the step at hand, with a checkpoint.
///
/// Clones share one state.
///
/// # Examples
/// ```
/// let interrupter = sail_train::Interrupter::new();
/// let handle = interrupter.clone();
/// handle.stop();
/// assert!(interrupter.is_stopped());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Interrupter(Arc<AtomicBool>);

impl Interrupter {
    /// A handle that nobody has used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether the run was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
