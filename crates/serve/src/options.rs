//! Settings, each with a default that suits a single machine.

use std::time::Duration;

use sail_core::{Check, ConfigError, ensure};

/// Settings of a [`Service`](crate::Service).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Name of the model in the API. Default `sail`.
    pub model: String,
    /// Inputs that may wait for the model, and queries that may wait for the search; at least `batch`. Default 256.
    pub queue: usize,
    /// Inputs that go through the model at once. Default 32.
    pub batch: usize,
    /// Most pixels of an image in a request, at most the limit of [`sail_data::DecodeLimits`]. Default 50,000,000.
    pub max_pixels: u64,
    /// Most results of a search. Default 1,000.
    pub max_results: usize,
    /// Most texts, images, labels or parts of a query in a request. Default 1,024.
    pub max_inputs: usize,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            model: "sail".to_owned(),
            queue: 256,
            batch: 32,
            max_pixels: 50_000_000,
            max_results: 1000,
            max_inputs: 1024,
        }
    }
}

impl Check for ServiceOptions {
    fn check(&self) -> Result<(), ConfigError> {
        let Self { batch, queue, max_results, max_inputs, max_pixels, .. } = *self;
        ensure(batch > 0, "batch", batch, "at least 1")?;
        ensure(queue >= batch, "queue", queue, format!("at least the batch of {batch}"))?;
        ensure(queue <= 1 << 20, "queue", queue, "at most 1048576")?;
        ensure(max_results > 0, "max_results", max_results, "at least 1")?;
        ensure(max_inputs > 0, "max_inputs", max_inputs, "at least 1")?;
        ensure(max_pixels > 0, "max_pixels", max_pixels, "at least 1")
    }
}

/// Settings of a [`router`](crate::router).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterOptions {
    /// The token that requests must bear, of visible ASCII characters. Default: none, which is for loopback addresses only.
    pub token: Option<String>,
    /// The hosts that requests may be addressed to, without ports. It protects a service without a token from pages of other
    /// sites that a browser on this machine opens, also if their names resolve to this machine (DNS rebinding). Default: any.
    pub hosts: Option<Vec<String>>,
    /// Time to receive the body of a request, and time to answer it. Default 30 s.
    pub timeout: Duration,
    /// Largest body of a request in bytes. Default 16 MiB.
    pub max_body: usize,
    /// Largest sum of the bodies of the requests under way in bytes, at least `max_body`. Default 256 MiB.
    pub bodies: usize,
}

impl RouterOptions {
    /// The names of this machine for itself, the value of [`hosts`](Self::hosts) for a service on a loopback address.
    pub const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            token: None,
            hosts: None,
            timeout: Duration::from_secs(30),
            max_body: 16 << 20,
            bodies: 256 << 20,
        }
    }
}

impl Check for RouterOptions {
    fn check(&self) -> Result<(), ConfigError> {
        let Self { token, timeout, max_body, bodies, .. } = self;
        if let Some(token) = token {
            // The value is not shown: it is a secret.
            let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
            ensure(visible, "token", "another text", "visible ASCII characters without spaces")?;
        }
        ensure(!timeout.is_zero(), "timeout", "0 s", "more than 0 s")?;
        ensure(*max_body > 0, "max_body", max_body, "at least 1")?;
        ensure(bodies >= max_body, "bodies", bodies, format!("at least `max_body`, {max_body}"))?;
        ensure(*bodies <= 1 << 40, "bodies", bodies, "at most 1 TiB")
    }
}

/// Limits on the connections of [`serve`](crate::serve).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// Connections at a time; others wait to be accepted. Default 16,384.
    pub connections: usize,
    /// Time for the head of a request, and time that a connection may be idle. Default 15 s.
    pub head: Duration,
    /// Time that a client may take to accept the next part of a response. Default 30 s.
    pub write: Duration,
    /// Time for the requests under way after a stop. Default 30 s.
    pub stop: Duration,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connections: 16_384, head: seconds(15), write: seconds(30), stop: seconds(30) }
    }
}

impl Check for ConnectionOptions {
    fn check(&self) -> Result<(), ConfigError> {
        let Self { connections, head, write, .. } = *self;
        ensure(connections > 0, "connections", connections, "at least 1")?;
        ensure(connections <= 1 << 20, "connections", connections, "at most 1048576")?;
        ensure(!head.is_zero(), "head", "0 s", "more than 0 s")?;
        ensure(!write.is_zero(), "write", "0 s", "more than 0 s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_secrets_are_not_shown() {
        ServiceOptions::default().check().unwrap();
        RouterOptions::default().check().unwrap();
        ConnectionOptions::default().check().unwrap();
        let secret = RouterOptions { token: Some("with spaces".to_owned()), ..RouterOptions::default() };
        assert!(!secret.check().unwrap_err().to_string().contains("with spaces"));
        let small = ServiceOptions { queue: 31, ..ServiceOptions::default() };
        assert_eq!(
            small.check().unwrap_err().to_string(),
            "`queue` is 31, expected at least the batch of 32"
        );
    }
}
