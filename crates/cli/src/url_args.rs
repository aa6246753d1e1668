//! Options of images by URL.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use sail_vl::extract::UrlFetch;
use sail_vl::fetch::{ClientOptions, RetryPolicy, Stop, UrlFetcher};

use crate::error::CliError;

/// How images are fetched whose table has `http://` or `https://` addresses.
#[derive(Args)]
#[command(next_help_heading = "Images by URL")]
pub(crate) struct UrlArgs {
    /// Images that are fetched at once.
    #[arg(long, value_name = "IMAGES", default_value_t = 32)]
    fetches: usize,
    /// Seconds after which an image that is not complete is skipped.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    url_timeout: u64,
    /// Attempts to fetch an image from a busy or failing server.
    #[arg(long, value_name = "TIMES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    url_attempts: u32,
    /// Keep fetched images in a folder, and take them from there [default: they are not kept].
    #[arg(long, value_name = "FOLDER")]
    url_cache: Option<PathBuf>,
    /// Fetch from private addresses too: loopback, link-local and private networks.
    #[arg(long)]
    private_addresses: bool,
}

impl UrlArgs {
    /// Returns how images of at most `max_bytes` are fetched until `stop` is set.
    pub(crate) fn fetch(&self, max_bytes: u64, stop: Arc<AtomicBool>) -> Result<UrlFetch, CliError> {
        let total = Duration::from_secs(self.url_timeout);
        let options = ClientOptions {
            connect_timeout: total.min(Duration::from_secs(10)),
            idle_timeout: total,
            total_timeout: Some(total),
            private_addresses: self.private_addresses,
            ..ClientOptions::default()
        };
        // Of many servers some never answer: none is waited for long.
        let retry = RetryPolicy {
            attempts: self.url_attempts,
            delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(4),
            max_retry_after: Duration::from_secs(4),
        };
        let stop = Stop::new(move || stop.load(Ordering::Relaxed));
        let mut fetcher = UrlFetcher::new(&options, retry, max_bytes, stop);
        if let Some(folder) = &self.url_cache {
            fetcher = fetcher.with_cache(folder).map_err(|error| {
                CliError::Usage(format!(
                    "the folder {} of `--url-cache` cannot be used: {error}",
                    folder.display()
                ))
            })?;
        }
        Ok(UrlFetch::new(self.fetches, move |url| fetcher.fetch(url).map_err(|error| error.to_string())))
    }
}
