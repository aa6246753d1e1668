//! Waiting between attempts.

use std::time::{Duration, SystemTime};

use crate::{FetchError, Stop};

/// A delay from which on it is worth a warning.
const NOTICED: Duration = Duration::from_secs(5);

/// How often and how fast failed requests are repeated.
///
/// The delay doubles with each failure in a row, up to `max_delay`, and is shortened by up to a half at random, so that clients
/// that failed together do not return together. A server's `Retry-After` replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum number of attempts in a row without progress.
    pub attempts: u32,
    /// Delay after the first failure.
    pub delay: Duration,
    /// Maximum delay.
    pub max_delay: Duration,
    /// The longest `Retry-After` that is waited for; a longer one is an error at once.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts within a quarter of a minute, and up to five minutes if the server asks for them, the window of the hub's
    /// rate limits.
    fn default() -> Self {
        Self {
            attempts: 5,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(330),
        }
    }
}

/// Waits after failed attempts.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use sail_fetch::{Backoff, FetchError, RetryPolicy, Stop};
///
/// let policy = RetryPolicy { attempts: 3, delay: Duration::from_millis(1), ..RetryPolicy::default() };
/// let stop = Stop::default();
/// let mut backoff = Backoff::new(policy, &stop);
/// let failure = || FetchError::Status { status: 503, retry_after: None };
/// assert!(backoff.wait(failure()).is_ok() && backoff.wait(failure()).is_ok());
/// assert!(backoff.wait(failure()).is_err(), "the third attempt was the last");
/// ```
#[derive(Debug)]
pub struct Backoff<'a> {
    policy: RetryPolicy,
    stop: &'a Stop,
    failures: u32,
}

impl<'a> Backoff<'a> {
    /// Begins without failures.
    pub fn new(policy: RetryPolicy, stop: &'a Stop) -> Self {
        Self { policy, stop, failures: 0 }
    }

    /// Forgets earlier failures, after progress.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits before another attempt.
    ///
    /// # Errors
    /// The failure itself if it is not transient, if it was the last attempt, or if the server asks for a longer wait than
    /// allowed; [`FetchError::Stopped`] if work should stop.
    pub fn wait(&mut self, failure: FetchError) -> Result<(), FetchError> {
        self.failures += 1;
        let asked = failure.retry_after();
        if !failure.is_transient()
            || self.failures >= self.policy.attempts
            || asked.is_some_and(|asked| asked > self.policy.max_retry_after)
        {
            return Err(failure);
        }
        let delay = asked.unwrap_or_else(|| self.delay());
        let seconds = delay.as_secs_f32();
        // A user should not wonder about a silence.
        match delay >= NOTICED {
            true => tracing::warn!("{failure}: waiting {seconds:.0} s before another attempt"),
            false => tracing::debug!("{failure}: waiting {seconds:.1} s before another attempt"),
        }
        self.stop.sleep(delay)
    }

    fn delay(&self) -> Duration {
        let doubled =
            self.policy.delay.saturating_mul(1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX));
        doubled.min(self.policy.max_delay).mul_f64(1.0 - fastrand::f64() / 2.0)
    }
}

/// Parses a `Retry-After`: seconds, or the date to wait for.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date that has passed asks for no wait.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |value| retry_after(value, now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:07 GMT"), Some(Duration::ZERO), "the past");
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("-1"), None);
    }

    #[test]
    fn delays_double_to_a_maximum_with_jitter() {
        let stop = Stop::default();
        let policy = RetryPolicy::default();
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (40, 30.0)] {
            let backoff = Backoff { policy, stop: &stop, failures };
            let delays: Vec<f64> = (0..100).map(|_| backoff.delay().as_secs_f64()).collect();
            assert!(delays.iter().all(|delay| (seconds / 2.0..=seconds).contains(delay)), "{delays:?}");
            assert!(delays.iter().any(|delay| *delay != delays[0]), "no jitter");
        }
    }

    #[test]
    fn a_server_may_ask_for_less_or_more_but_not_for_an_hour() {
        let stop = Stop::default();
        let policy = RetryPolicy { delay: Duration::from_secs(3600), ..RetryPolicy::default() };
        let failure =
            |seconds| FetchError::Status { status: 429, retry_after: Some(Duration::from_secs(seconds)) };
        assert!(Backoff::new(policy, &stop).wait(failure(0)).is_ok());
        assert!(matches!(
            Backoff::new(policy, &stop).wait(failure(3600)),
            Err(FetchError::Status { status: 429, .. })
        ));
        let stopped = Stop::new(|| true);
        assert!(matches!(Backoff::new(policy, &stopped).wait(failure(300)), Err(FetchError::Stopped)));
    }
}
