//! Reading files of a set.

use std::path::Path;

use sail_support::read_bounded;

use super::error::SegmentationSetError;

/// Reads a file of at most `limit` bytes.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, SegmentationSetError> {
    read_bounded(path, limit)
        .map_err(|error| SegmentationSetError::Io { path: path.to_owned(), source: error.into() })
}
