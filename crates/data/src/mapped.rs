//! Memory-mapped safetensors files.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};
use sail_core::FeatureError;

use crate::error::ensure_file;
use crate::{DataError, Dtype};

/// A feature file has a handful of tensors; a longer header would only serve to exhaust memory.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// A regular file mapped into memory.
///
/// A file that another process shortens while it is mapped ends this one with a bus error when the lost
/// part is read. [`unchanged`](Mapped::unchanged) narrows that to the moment between the check and the
/// read.
#[derive(Debug)]
pub(crate) struct Mapped {
    path: PathBuf,
    map: Mmap,
}

impl Mapped {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        // Asked before opening: to open a named pipe would wait for its writer.
        let kind = fs::metadata(path).map_err(DataError::io(path))?;
        ensure_file(kind.is_file(), path, "the entry", "a folder or a device", "a regular file")?;
        let file = File::open(path).map_err(DataError::io(path))?;
        // SAFETY: the map is read-only and read as plain bytes, each time with bounds and UTF-8 checked,
        // so that even foreign changes to the file can only give other numbers. This crate replaces files
        // by renaming and never writes into one.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(DataError::io(path))?;
        Ok(Self { path: path.to_owned(), map })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Whether the file still has the size it had when it was mapped.
    pub(crate) fn unchanged(&self) -> Result<(), FeatureError> {
        let io = |source| FeatureError::Io { path: self.path.clone(), source };
        let found = fs::metadata(&self.path).map_err(io)?.len();
        if found == self.map.len() as u64 {
            return Ok(());
        }
        Err(io(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("it has {found} bytes, expected {} as when it was opened", self.map.len()),
        )))
    }

    /// Parses the header. The safetensors crate checks that the tensors cover the rest of the file
    /// without gap or overlap and that every shape fits its bytes.
    pub(crate) fn header(&self) -> Result<Header, DataError> {
        if let Some(&length) = self.map.first_chunk() {
            let length = u64::from_le_bytes(length);
            let limit = MAX_HEADER_BYTES;
            ensure_file(
                length <= limit,
                &self.path,
                "the header length",
                length,
                format!("at most {limit}"),
            )?;
        }
        let (length, metadata) = SafeTensors::read_metadata(&self.map)
            .map_err(|source| DataError::Safetensors { path: self.path.clone(), source })?;
        Ok(Header { metadata, data_start: size_of::<u64>() + length })
    }
}

/// The tensors of a file and where their bytes begin.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: Metadata,
    data_start: usize,
}

impl Header {
    /// The bytes of a tensor within the file.
    pub(crate) fn range(&self, info: &TensorInfo) -> Range<usize> {
        let (start, end) = info.data_offsets;
        self.data_start + start..self.data_start + end
    }
}

/// A two-dimensional float tensor with at least one number, somewhere in a mapped file.
#[derive(Debug, Clone)]
pub(crate) struct MatrixView {
    range: Range<usize>,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) dtype: Dtype,
}

impl MatrixView {
    /// `None` where the tensor is something else.
    pub(crate) fn new(header: &Header, info: &TensorInfo) -> Option<Self> {
        let &[rows, dim] = info.shape.as_slice() else {
            return None;
        };
        if rows == 0 || dim == 0 {
            return None;
        }
        Some(Self { range: header.range(info), rows, dim, dtype: Dtype::from_safetensors(info.dtype)? })
    }

    /// Converts a row of the file's `bytes`.
    pub(crate) fn copy_row(&self, bytes: &[u8], row: usize, out: &mut [f32]) {
        let size = self.dim * self.dtype.size();
        let start = self.range.start + row * size;
        self.dtype.decode(&bytes[start..start + size], out);
    }
}

/// A tensor as errors show it.
pub(crate) fn describe(name: &str, info: &TensorInfo) -> String {
    format!("`{name}` {:?} {:?}", info.dtype, info.shape)
}
