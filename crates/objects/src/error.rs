//! Errors of object stores.

use std::path::PathBuf;

/// An error of a bucket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The URL, or the settings in the environment, are invalid.
    #[error("`{url}` is not the URL of objects, such as `s3://bucket/folder`")]
    Url {
        /// The URL.
        url: String,
        /// What is invalid.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There are no objects at the URL.
    #[error("there are no objects at {url}: check the spelling")]
    Nothing {
        /// The URL.
        url: String,
    },
    /// The store refused a request or cannot be reached.
    #[error("cannot access {url}: check the network, and the credentials in the environment")]
    Store {
        /// The URL.
        url: String,
        /// The error of the client.
        #[source]
        source: object_store::Error,
    },
    /// The objects are larger than the cache may be.
    #[error(
        "the objects at {url} have {found} bytes, more than the limit of {max}: choose fewer, or raise it"
    )]
    TooLarge {
        /// The URL.
        url: String,
        /// Their bytes.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// The name of an object could lead out of the cache, or is invalid on some operating systems.
    #[error("{url} has an object `{name}`, expected a plain relative path")]
    Name {
        /// The URL.
        url: String,
        /// The name.
        name: String,
    },
    /// Fewer or more bytes than listed were received.
    #[error("{url}/{name} sent {found} bytes, {expected} are listed; fetch it again")]
    Length {
        /// The URL.
        url: String,
        /// The object below it.
        name: String,
        /// Bytes received.
        found: u64,
        /// Bytes listed.
        expected: u64,
    },
    /// A local file cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
}

impl ObjectError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}
