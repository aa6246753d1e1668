//! The files that an index was made of.

use std::io::ErrorKind;
use std::path::PathBuf;

use sail_support::{ReadError, read_bounded};
use sha2::{Digest, Sha256};

use super::content::HASH;
use super::error::IndexError;
use super::read::Index;
use super::segment::{BYTES, SHA256};

/// The file of an image, as it was when it was indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    path: PathBuf,
    bytes: u64,
    sha256: Vec<u8>,
}

impl Index {
    /// Returns the file of a row, or `None` if the image is in an archive, in a table or at an address.
    ///
    /// # Errors
    /// [`IndexError::Row`], and errors of reading.
    pub fn original(&self, row: usize) -> Result<Option<Original>, IndexError> {
        let Some(path) = self.entry(row)?.file else { return Ok(None) };
        let (segment, within) = self.locate(row)?;
        let bytes =
            segment.arrays().integers(BYTES, within..within + 1)?.first().copied().unwrap_or_default();
        let sha256 = segment.arrays().bytes(SHA256, within * HASH..(within + 1) * HASH)?;
        Ok(Some(Original { path, bytes, sha256 }))
    }
}

impl Original {
    /// Returns the length of the file in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the file, or returns `None` if it is gone or has changed since it was indexed.
    ///
    /// Only bytes with the hash that the index records are returned: whatever path an index names, it discloses nothing that its
    /// author did not have.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn read(&self) -> Result<Option<Vec<u8>>, IndexError> {
        let bytes = match read_bounded(&self.path, self.bytes) {
            Ok(bytes) => bytes,
            Err(ReadError::TooLarge { .. } | ReadError::NotAFile) => return Ok(None),
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(ReadError::Io(error)) => return Err(IndexError::io(&self.path)(error)),
        };
        let is_same = Sha256::digest(&bytes).as_slice() == self.sha256;
        Ok(is_same.then_some(bytes))
    }
}
