//! Errors of downloads.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use sail_support::StandIn;

/// An error of a download. Messages do not repeat the URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The connection failed or was interrupted.
    #[error("the connection failed: {0}")]
    Network(io::Error),
    /// The server did not answer in time.
    #[error("timeout: {0}")]
    Timeout(&'static str),
    /// The server answered with another status than success.
    #[error("status {status}")]
    Status {
        /// The status code of HTTP.
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The file is longer than allowed.
    #[error("the file has more than {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// Something else was sent in the place of the file.
    #[error("received {0}")]
    StandIn(StandIn),
    /// The host has an address that is not public.
    #[error("{host} is at {address}, which is not public: private addresses must be allowed explicitly")]
    Private {
        /// Name of the host.
        host: String,
        /// The address that it resolves to.
        address: IpAddr,
    },
    /// The URL or a redirect is invalid.
    #[error("invalid URL: {0}")]
    Url(String),
    /// The cache, or a temporary file, cannot be written.
    #[error("cannot write a fetched file: {0}")]
    Write(io::Error),
    /// Work was asked to stop.
    #[error("stopped")]
    Stopped,
}

impl FetchError {
    /// Returns whether another attempt may succeed.
    ///
    /// # Examples
    /// ```
    /// use sail_fetch::FetchError;
    /// let status = |status| FetchError::Status { status, retry_after: None };
    /// assert!([408, 429, 500, 502, 503, 504].into_iter().all(|code| status(code).is_transient()));
    /// assert!(![400, 403, 404, 410, 501].into_iter().any(|code| status(code).is_transient()));
    /// ```
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network(_) | Self::Timeout(_) => true,
            // 501 and 505 are about the request, not about the moment.
            Self::Status { status, .. } => {
                matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 505)
            }
            _ => false,
        }
    }

    /// Returns how long the server asks to wait before another attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
