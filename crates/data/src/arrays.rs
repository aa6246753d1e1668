//! Named arrays in one safetensors file.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use sail_support::{ranges, write_atomic};

use crate::DataError;
use crate::error::ensure_file;
use crate::file::{StableFile, read_at};
use crate::hashing::Hashing;
use crate::header::{Header, describe};

/// Values that are read or written at once.
const BLOCK: usize = 1 << 16;

/// An array to write.
#[derive(Debug, Clone, Copy)]
pub enum Array<'a> {
    /// Bytes in rows of a fixed width, at least 1: U8 `[rows, width]`.
    Bytes {
        /// Bytes of a row.
        width: usize,
        /// The rows, one after the other.
        values: &'a [u8],
    },
    /// Integers: U64 `[values]`.
    Integers(&'a [u64]),
}

impl Array<'_> {
    fn info(&self, start: usize) -> TensorInfo {
        let (dtype, shape, bytes) = match self {
            Self::Bytes { width: 1, values } => (safetensors::Dtype::U8, vec![values.len()], values.len()),
            Self::Bytes { width, values } => {
                (safetensors::Dtype::U8, vec![values.len() / width.max(&1), *width], values.len())
            }
            Self::Integers(values) => (safetensors::Dtype::U64, vec![values.len()], 8 * values.len()),
        };
        TensorInfo { dtype, shape, data_offsets: (start, start + bytes) }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Bytes { values, .. } => out.write_all(values),
            Self::Integers(values) => values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())),
        }
    }
}

/// Writes arrays to a safetensors file, atomically, and returns its SHA-256 in hexadecimal digits. The same arrays give the same
/// bytes. Integers should come first, which aligns them.
///
/// # Errors
/// [`DataError::Safetensors`] for bytes that are not whole rows, and [`DataError::Io`].
///
/// # Examples
/// ```
/// use sail_data::{Array, ArrayFile, write_arrays};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("arrays.safetensors");
/// let text = Array::Bytes { width: 1, values: b"onetwo" };
/// write_arrays(&path, &[("offsets", Array::Integers(&[0, 3, 6])), ("text", text)])?;
/// let file = ArrayFile::open(&path)?;
/// assert_eq!(file.integers("offsets", 1..3)?, [3, 6]);
/// assert_eq!(file.bytes("text", 3..6)?, b"two");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_arrays(path: &Path, arrays: &[(&str, Array<'_>)]) -> Result<String, DataError> {
    let mut end = 0;
    let tensor = |(name, array): &(&str, Array<'_>)| {
        let info = array.info(end);
        end = info.data_offsets.1;
        ((*name).to_owned(), info)
    };
    let metadata = Metadata::new(None, arrays.iter().map(tensor).collect())
        .map_err(|source| DataError::Safetensors { path: path.to_owned(), source })?;
    let mut sha256 = String::new();
    write_atomic(path, |out| {
        let mut header = serde_json::to_vec(&metadata)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut out = Hashing::new(out);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        arrays.iter().try_for_each(|(_, array)| array.write(&mut out))?;
        (_, sha256) = out.finish();
        io::Result::Ok(())
    })
    .map_err(DataError::io(path))?;
    Ok(sha256)
}

/// Named arrays of bytes and integers in a safetensors file, of which parts are read on demand.
///
/// Opening reads the header only. The file must not change while it is in use, and stays closed between reads.
#[derive(Debug)]
pub struct ArrayFile {
    file: StableFile,
    header: Header,
}

impl ArrayFile {
    /// Opens a file and validates its header.
    ///
    /// # Errors
    /// [`DataError::Safetensors`], [`DataError::Malformed`], [`DataError::StandIn`] and [`DataError::Io`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = StableFile::open(path)?;
        let header = Header::read(&file)?;
        Ok(Self { file, header })
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Returns whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.header.metadata.info(name).is_some()
    }

    /// Checks that an array of bytes has this number of rows of this width.
    ///
    /// # Errors
    /// [`DataError::NoTensor`] and [`DataError::Malformed`].
    pub fn check_bytes(&self, name: &str, rows: usize, width: usize) -> Result<(), DataError> {
        let shape = if width == 1 { vec![rows] } else { vec![rows, width] };
        self.check(name, safetensors::Dtype::U8, &shape)
    }

    /// Checks that an array of integers has this length.
    ///
    /// # Errors
    /// [`DataError::NoTensor`] and [`DataError::Malformed`].
    pub fn check_integers(&self, name: &str, length: usize) -> Result<(), DataError> {
        self.check(name, safetensors::Dtype::U64, &[length])
    }

    /// Returns the number of values of an array.
    ///
    /// # Errors
    /// [`DataError::NoTensor`].
    pub fn length(&self, name: &str) -> Result<usize, DataError> {
        Ok(self.info(name)?.shape.iter().product())
    }

    /// Reads a range of an array of bytes; of rows, by bytes.
    ///
    /// # Errors
    /// [`DataError::NoTensor`], [`DataError::Malformed`] for another dtype or a range outside the array, and errors of reading.
    pub fn bytes(&self, name: &str, range: Range<usize>) -> Result<Vec<u8>, DataError> {
        self.read(name, safetensors::Dtype::U8, 1, range)
    }

    /// Reads a range of an array of integers.
    ///
    /// # Errors
    /// Those of [`bytes`](Self::bytes).
    pub fn integers(&self, name: &str, range: Range<usize>) -> Result<Vec<u64>, DataError> {
        let mut values = Vec::new();
        for block in ranges(range.len(), BLOCK) {
            let block = range.start + block.start..range.start + block.end;
            let bytes = self.read(name, safetensors::Dtype::U64, 8, block)?;
            values.extend(bytes.as_chunks().0.iter().map(|value| u64::from_le_bytes(*value)));
        }
        Ok(values)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, DataError> {
        self.header.metadata.info(name).ok_or_else(|| DataError::NoTensor {
            path: self.path().to_owned(),
            wanted: format!("tensor `{name}`"),
            available: format!("`{}`", self.header.metadata.offset_keys().join("`, `")),
        })
    }

    fn check(&self, name: &str, dtype: safetensors::Dtype, shape: &[usize]) -> Result<(), DataError> {
        let info = self.info(name)?;
        let expected = format!("{dtype:?} {shape:?}");
        let is_expected = info.dtype == dtype && info.shape == shape;
        ensure_file(is_expected, self.path(), "an array", describe(name, info), expected)
    }

    fn read(
        &self,
        name: &str,
        dtype: safetensors::Dtype,
        size: usize,
        range: Range<usize>,
    ) -> Result<Vec<u8>, DataError> {
        let info = self.info(name)?;
        ensure_file(
            info.dtype == dtype,
            self.path(),
            "an array",
            describe(name, info),
            format!("dtype {dtype:?}"),
        )?;
        let length = (info.data_offsets.1 - info.data_offsets.0) / size;
        ensure_file(
            range.start <= range.end && range.end <= length,
            self.path(),
            format!("a range of `{name}`"),
            format!("{range:?}"),
            format!("at most {length} values"),
        )?;
        let start = self.header.start(info) + (range.start * size) as u64;
        let mut bytes = vec![0; range.len() * size];
        self.file.read(|from| read_at(from, &mut bytes, start))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let integers: Vec<u64> = (0..200_000).map(|value| value * value).collect();
        let rows: Vec<u8> = (0..60).collect();
        let arrays = [
            ("integers", Array::Integers(&integers)),
            ("empty", Array::Integers(&[])),
            ("rows", Array::Bytes { width: 6, values: &rows }),
        ];
        write_arrays(&path, &arrays).unwrap();
        let first = std::fs::read(&path).unwrap();
        write_arrays(&path, &arrays).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);

        let file = ArrayFile::open(&path).unwrap();
        file.check_integers("integers", 200_000).unwrap();
        file.check_bytes("rows", 10, 6).unwrap();
        assert_eq!(file.integers("integers", 70_000..200_000).unwrap(), integers[70_000..]);
        assert_eq!(file.bytes("rows", 6..12).unwrap(), rows[6..12]);
        assert_eq!((file.length("empty").unwrap(), file.integers("empty", 0..0).unwrap()), (0, vec![]));
        assert!(file.has("rows") && !file.has("absent"));
        assert!(matches!(file.check_bytes("rows", 6, 10), Err(DataError::Malformed { .. })));
        assert!(matches!(file.bytes("integers", 0..1), Err(DataError::Malformed { .. })));
        assert!(matches!(file.integers("integers", 199_999..200_001), Err(DataError::Malformed { .. })));
        assert!(matches!(file.bytes("absent", 0..0), Err(DataError::NoTensor { .. })));

        let whole = [("rows", Array::Bytes { width: 7, values: &rows })];
        assert!(matches!(write_arrays(&path, &whole), Err(DataError::Safetensors { .. })));
        std::fs::write(&path, &first[..first.len() - 1]).unwrap();
        assert!(ArrayFile::open(&path).is_err());
    }
}
