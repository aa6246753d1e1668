//! Records of images and captions.

use std::ops::Range;
use std::path::PathBuf;

use super::passed_over::PassedOver;
use crate::DataError;

/// The bytes of an image file, or where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageData {
    /// A file that is read later.
    File(PathBuf),
    /// Bytes from a table or an archive.
    Bytes(Vec<u8>),
    /// An address, `http://` or `https://`, that is fetched later. This crate has no network.
    Url(String),
}

/// A record of a source: its key, and its value or the reason why it is unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<T> {
    /// The key that pairs the record with its counterpart; a description if it has none.
    pub key: String,
    /// An image or a caption, or the reason why the record is skipped.
    pub value: Result<T, String>,
}

/// An iterator over records. An item is an error if the source cannot be read.
pub type Records<T> = Box<dyn Iterator<Item = Result<Record<T>, DataError>> + Send>;

/// A source of images ([`ImageData`]) or captions ([`String`]) in a fixed order.
///
/// Positions include skipped records.
pub trait RecordSource<T>: Send + Sync {
    /// Counts the records. This may read the whole source, in bounded memory.
    ///
    /// # Errors
    /// [`DataError`] if the source cannot be read.
    fn count(&self) -> Result<u64, DataError>;

    /// Iterates over a range of positions.
    ///
    /// # Errors
    /// [`DataError`] if the source cannot be read.
    fn records(&self, range: Range<u64>) -> Result<Records<T>, DataError>;

    /// Returns the files that are passed over because of their suffix. This may read the whole source, in bounded memory.
    ///
    /// # Errors
    /// [`DataError`] if the source cannot be read.
    fn passed_over(&self) -> Result<PassedOver, DataError> {
        Ok(PassedOver::default())
    }
}
