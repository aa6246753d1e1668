//! Requests to stop.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::FetchError;

/// The longest time between two checks for a request to stop.
pub(crate) const POLL: Duration = Duration::from_millis(100);

/// Tells whether work should stop. The default never stops.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use sail_fetch::Stop;
///
/// let flag = Arc::new(AtomicBool::new(false));
/// let seen = flag.clone();
/// let stop = Stop::new(move || seen.load(Ordering::Relaxed));
/// assert!(!stop.requested());
/// flag.store(true, Ordering::Relaxed);
/// assert!(stop.requested());
/// ```
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Stop {
    /// Creates a stop from a callback, which is asked about ten times a second.
    pub fn new(requested: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(requested)))
    }

    /// Returns whether work should stop.
    pub fn requested(&self) -> bool {
        self.0.as_ref().is_some_and(|requested| requested())
    }

    /// Waits.
    ///
    /// # Errors
    /// [`FetchError::Stopped`] as soon as work should stop.
    pub fn sleep(&self, duration: Duration) -> Result<(), FetchError> {
        let begun = Instant::now();
        loop {
            if self.requested() {
                return Err(FetchError::Stopped);
            }
            let left = duration.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(POLL));
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Stop").field(&self.requested()).finish()
    }
}
