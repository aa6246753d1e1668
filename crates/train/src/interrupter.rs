//! A handle that stops a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops a run from another thread or a signal handler. The current step is completed and a checkpoint is saved.
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
    /// Creates a handle.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the run to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if a stop was requested.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
