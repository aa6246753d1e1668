//! Small files of a model folder.

use std::io::ErrorKind;
use std::path::Path;

use sail_support::{ReadError, json, read_bounded, stand_in};
use serde_json::Value;

use super::ModelError;

/// Maximum size of a configuration file. Published ones with the labels of 21,000 classes have 1 MB.
pub(crate) const MAX_JSON: u64 = 32 << 20;

/// Reads a file; `None` if it does not exist.
///
/// # Errors
/// Returns [`ModelError::Io`], or [`ModelError::Format`] if the file has more than `limit` bytes or something else stands in
/// its place.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ModelError> {
    match read_bounded(path, limit) {
        Ok(bytes) => match stand_in(&bytes) {
            None => Ok(Some(bytes)),
            Some(stand_in) => Err(format(path, stand_in.to_string())),
        },
        Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(ReadError::TooLarge { .. }) => Err(format(path, format!("larger than {} MiB", limit >> 20))),
        Err(error) => Err(ModelError::Io { path: path.to_owned(), source: error.into() }),
    }
}

/// Reads a JSON file as Python writes it; `None` if it does not exist.
///
/// # Errors
/// As [`read`], and [`ModelError::Format`] if the file is not JSON.
pub(crate) fn read_json(path: &Path, limit: u64) -> Result<Option<Value>, ModelError> {
    let Some(bytes) = read(path, limit)? else { return Ok(None) };
    json::from_slice(&bytes).map(Some).map_err(|error| format(path, format!("not JSON: {error}")))
}

/// Returns the error for an invalid file.
pub(crate) fn format(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Format { path: path.to_owned(), reason: reason.into() }
}
