//! Reading files whose kind and length are not trusted.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// A file that is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A directory, a device, a pipe or a socket.
    #[error("expected a regular file, found a folder or a device")]
    NotAFile,
    /// A file longer than the limit.
    #[error("the file has {found} bytes, expected at most {limit}")]
    TooLarge {
        /// Length of the file in bytes.
        found: u64,
        /// Maximum length in bytes.
        limit: u64,
    },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Opens a regular file for reading.
///
/// # Errors
/// [`ReadError::NotAFile`] and [`ReadError::Io`].
pub fn open_file(path: &Path) -> Result<File, ReadError> {
    // Checked before opening, since opening a named pipe blocks until it has a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    Ok(File::open(path)?)
}

/// Reads a regular file of at most `limit` bytes, even if it grows meanwhile.
///
/// # Errors
/// [`ReadError`].
///
/// # Examples
/// ```
/// use sail_support::{ReadError, read_bounded};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// std::fs::write(&path, "four")?;
/// assert_eq!(read_bounded(&path, 4)?, b"four");
/// assert!(matches!(read_bounded(&path, 3), Err(ReadError::TooLarge { found: 4, limit: 3 })));
/// assert!(matches!(read_bounded(folder.path(), 3), Err(ReadError::NotAFile)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = open_file(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Err(ReadError::TooLarge { found: length, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        found if found > limit => Err(ReadError::TooLarge { found, limit }),
        _ => Ok(bytes),
    }
}

/// Removes a UTF-8 byte order mark.
///
/// # Examples
/// ```
/// assert_eq!(sail_support::strip_bom(b"\xEF\xBB\xBFkey,caption"), b"key,caption");
/// assert_eq!(sail_support::strip_bom(b"key,caption"), b"key,caption");
/// ```
pub fn strip_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}
