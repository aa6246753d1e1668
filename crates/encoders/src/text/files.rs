//! The small files of a model folder.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::pretrained::ModelError;

/// Far beyond any published tokenizer: what a file of more bytes holds is not one.
const MAX_BYTES: u64 = 256 << 20;

/// A file's bytes, or nothing where there is no such file.
///
/// # Errors
/// [`ModelError::Io`], and [`ModelError::Format`] for a file that is too large to be what its name says.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format(path, format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(Some(bytes))
}

/// A JSON file, or nothing where there is no such file.
///
/// # Errors
/// As [`read`], and [`ModelError::Format`] for a file that is not JSON.
pub(crate) fn read_json(path: &Path) -> Result<Option<Value>, ModelError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format(path, error.to_string()))
}

/// The error for a file that cannot be used.
pub(crate) fn format(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Format { path: path.to_owned(), reason: reason.into() }
}
