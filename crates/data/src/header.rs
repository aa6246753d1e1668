//! Headers of safetensors files.

use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo};

use sail_support::stand_in;

use crate::DataError;
use crate::error::ensure_file;
use crate::file::{StableFile, read_at};

/// A feature file has few tensors; a longer header could only exhaust memory.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// The tensors of a file and the offset of their data.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: Metadata,
    data_start: u64,
}

impl Header {
    /// Reads and validates the header: the tensors cover the rest of the file without gaps or overlaps, and every shape
    /// matches its length.
    pub(crate) fn read(file: &StableFile) -> Result<Self, DataError> {
        refuse_stand_in(file)?;
        let invalid = |source| DataError::Safetensors { path: file.path().to_owned(), source };
        let mut length = [0; 8];
        let prefix = length.len() as u64;
        let Some(rest) = file.bytes().checked_sub(prefix) else {
            return Err(invalid(SafeTensorError::HeaderTooSmall));
        };
        file.read(|from| read_at(from, &mut length, 0))?;
        let length = u64::from_le_bytes(length);
        let expected = format!("at most {MAX_HEADER_BYTES}");
        ensure_file(length <= MAX_HEADER_BYTES, file.path(), "the header length", length, expected)?;
        let Some(data) = rest.checked_sub(length) else {
            return Err(invalid(SafeTensorError::InvalidHeaderLength));
        };
        let mut json = vec![0; length as usize];
        file.read(|from| read_at(from, &mut json, prefix))?;
        let json =
            std::str::from_utf8(&json).map_err(|error| invalid(SafeTensorError::InvalidHeader(error)))?;
        let metadata: Metadata = serde_json::from_str(json)
            .map_err(|error| invalid(SafeTensorError::InvalidHeaderDeserialization(error)))?;
        if metadata.data_len() as u64 != data {
            return Err(invalid(SafeTensorError::MetadataIncompleteBuffer));
        }
        Ok(Self { metadata, data_start: prefix + length })
    }

    /// The offset of a tensor in the file.
    pub(crate) fn start(&self, info: &TensorInfo) -> u64 {
        self.data_start + info.data_offsets.0 as u64
    }
}

/// Names a pointer or a page that was left in the place of the file.
fn refuse_stand_in(file: &StableFile) -> Result<(), DataError> {
    let mut start = vec![0; file.bytes().min(512) as usize];
    file.read(|from| read_at(from, &mut start, 0))?;
    match stand_in(&start) {
        Some(found) => Err(DataError::StandIn { path: file.path().to_owned(), found }),
        None => Ok(()),
    }
}

/// Formats a tensor for errors.
pub(crate) fn describe(name: &str, info: &TensorInfo) -> String {
    format!("`{name}` {:?} {:?}", info.dtype, info.shape)
}
