//! Many small files by URL.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sail_support::{hex, stand_in};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, SpooledTempFile};
use url::Url;

use crate::{Backoff, Client, ClientOptions, FetchError, Response, RetryPolicy, Stop};

/// The longest file that is kept in memory; longer ones are in a temporary file.
const MEMORY: usize = 1 << 18;

/// Fetches files by URL, with a limit on their size and an optional cache.
///
/// A fetched file is whole: a body that ends early is an error, and so is an HTML page in the place of an image.
///
/// # Examples
/// ```
/// use sail_fetch::{ClientOptions, FetchError, RetryPolicy, Stop, UrlFetcher};
///
/// let fetcher = UrlFetcher::new(&ClientOptions::default(), RetryPolicy::default(), 1 << 20, Stop::default());
/// let error = fetcher.fetch("http://127.0.0.1/cat.png").err();
/// assert!(matches!(error, Some(FetchError::Private { .. })));
/// ```
#[derive(Debug)]
pub struct UrlFetcher {
    client: Client,
    retry: RetryPolicy,
    max_bytes: u64,
    cache: Option<PathBuf>,
    stop: Stop,
}

impl UrlFetcher {
    /// Creates a fetcher of files with at most `max_bytes`, without a cache.
    pub fn new(options: &ClientOptions, retry: RetryPolicy, max_bytes: u64, stop: Stop) -> Self {
        Self { client: Client::new(options), retry, max_bytes, cache: None, stop }
    }

    /// Keeps fetched files in a folder, by the SHA-256 of their URL, and takes them from there.
    ///
    /// # Errors
    /// [`FetchError::Write`] if the folder cannot be created.
    pub fn with_cache(self, folder: impl Into<PathBuf>) -> Result<Self, FetchError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(FetchError::Write)?;
        Ok(Self { cache: Some(folder), ..self })
    }

    /// Returns the file at a URL.
    ///
    /// # Errors
    /// [`FetchError`] if it cannot be fetched.
    pub fn fetch(&self, url: &str) -> Result<Box<dyn Read + Send>, FetchError> {
        let url = parse(url)?;
        let cached = self.cache.as_deref().map(|cache| cached(cache, &url));
        if let Some(path) = &cached {
            match File::open(path) {
                Ok(file) => return Ok(Box::new(file)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(FetchError::Write(error)),
            }
        }
        let mut backoff = Backoff::new(self.retry, &self.stop);
        loop {
            let attempt = match &cached {
                Some(path) => self.download_to(&url, path).map(|file| Box::new(file) as Box<_>),
                None => self.download(&url).map(|file| Box::new(file) as Box<_>),
            };
            match attempt {
                Ok(file) => return Ok(file),
                // Another attempt would wait as long.
                Err(failure @ FetchError::Timeout(_)) => return Err(failure),
                Err(failure) => backoff.wait(failure)?,
            }
        }
    }

    fn download(&self, url: &Url) -> Result<SpooledTempFile, FetchError> {
        let mut file = SpooledTempFile::new(MEMORY);
        self.receive(url, &mut file)?;
        file.rewind().map_err(FetchError::Write)?;
        Ok(file)
    }

    fn download_to(&self, url: &Url, path: &Path) -> Result<File, FetchError> {
        let write = || {
            let folder = path.parent().unwrap_or(Path::new(""));
            fs::create_dir_all(folder)?;
            NamedTempFile::new_in(folder)
        };
        let mut temporary = write().map_err(FetchError::Write)?;
        self.receive(url, temporary.as_file_mut())?;
        let persist = || {
            let mut file = temporary.persist(path).map_err(io::Error::from)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        persist().map_err(FetchError::Write)
    }

    /// Writes the body of one request.
    fn receive(&self, url: &Url, out: &mut dyn Write) -> Result<(), FetchError> {
        let mut response = self.client.get(url.as_str(), &[], &self.stop)?;
        if response.status() != 200 {
            return Err(response.status_error());
        }
        let max = self.max_bytes;
        if response.length().is_some_and(|length| length > max) {
            return Err(FetchError::TooLarge { max });
        }
        self.copy(&mut response, out)
    }

    fn copy(&self, response: &mut Response, out: &mut dyn Write) -> Result<(), FetchError> {
        let mut received = 0;
        while let Some(chunk) = response.chunk()? {
            if received == 0
                && let Some(found) = stand_in(&chunk)
            {
                return Err(FetchError::StandIn(found));
            }
            received += chunk.len() as u64;
            if received > self.max_bytes {
                return Err(FetchError::TooLarge { max: self.max_bytes });
            }
            out.write_all(&chunk).map_err(FetchError::Write)?;
        }
        match response.length() {
            Some(length) if length != received => Err(FetchError::Network(ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }
}

/// Parses a URL as browsers do: spaces and letters outside ASCII are encoded.
fn parse(text: &str) -> Result<Url, FetchError> {
    let mut url = Url::parse(text).map_err(|error| FetchError::Url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(FetchError::Url(format!("`{}://`, expected `http://` or `https://`", url.scheme())));
    }
    url.set_fragment(None);
    Ok(url)
}

/// Returns the path of a URL's file in the cache.
fn cached(cache: &Path, url: &Url) -> PathBuf {
    let name = hex(&Sha256::digest(url.as_str()));
    // Folders with millions of files are slow.
    cache.join(name.get(..2).unwrap_or_default()).join(name)
}
