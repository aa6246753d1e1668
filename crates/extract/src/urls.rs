//! Images by URL.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

/// How images are fetched by URL: the client, and how many it fetches at once.
///
/// Images are fetched on threads of their own, ahead of those that decode, so that slow servers do not hold up fast ones.
/// The client must limit sizes and times. If it stops because of [`ExtractOptions::stop`](crate::ExtractOptions::stop),
/// the images that it did not fetch are not counted as skipped.
///
/// # Examples
/// ```
/// use sail_extract::{ExtractOptions, UrlFetch};
///
/// let known = |url: &str| match url {
///     "https://example.org/cat.png" => Ok(&b"the bytes of an image"[..]),
///     _ => Err("status 404".to_owned()),
/// };
/// let options = ExtractOptions { urls: Some(UrlFetch::new(16, known)), ..ExtractOptions::images() };
/// ```
#[derive(Clone)]
pub struct UrlFetch {
    /// Number of images that are fetched at once, at least 1.
    pub at_once: usize,
    fetch: Arc<FetchFn>,
}

/// Returns the content at a URL, or the reason why there is none.
type FetchFn = dyn Fn(&str) -> Result<Box<dyn Read + Send>, String> + Send + Sync;

impl UrlFetch {
    /// Creates it from a function that returns the content at a URL, or the reason why there is none.
    pub fn new<R: Read + Send + 'static>(
        at_once: usize,
        fetch: impl Fn(&str) -> Result<R, String> + Send + Sync + 'static,
    ) -> Self {
        let fetch = move |url: &str| fetch(url).map(|content| Box::new(content) as Box<dyn Read + Send>);
        Self { at_once, fetch: Arc::new(fetch) }
    }

    pub(crate) fn fetch(&self, url: &str) -> Result<Box<dyn Read + Send>, String> {
        (self.fetch)(url).map_err(|reason| format!("cannot fetch {url}: {reason}"))
    }
}

impl fmt::Debug for UrlFetch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("UrlFetch").field("at_once", &self.at_once).finish_non_exhaustive()
    }
}
