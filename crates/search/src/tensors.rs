//! Safetensors files with tensors of known dtypes and shapes, which are written and read a buffer at a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sail_support::open_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Maximum length of the header, many times that of a valid one.
const MAX_HEADER_BYTES: u64 = 1 << 16;
/// Bytes that are read or written at once.
pub(crate) const BUFFER: usize = 1 << 20;

/// Name, dtype and shape of the tensors in the order of the file, the widest dtype first.
pub(crate) type Layout = Vec<(&'static str, Dtype, Vec<usize>)>;

/// A file that cannot be read, or not as what it should be.
#[derive(Debug)]
pub(crate) enum TensorsError {
    Io(io::Error),
    Malformed { what: String, found: String, expected: String },
}

impl From<io::Error> for TensorsError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) fn malformed(
    what: impl Into<String>,
    found: impl ToString,
    expected: impl ToString,
) -> TensorsError {
    TensorsError::Malformed { what: what.into(), found: found.to_string(), expected: expected.to_string() }
}

/// Writes the header of a file whose only entry of metadata is a description in JSON. The data of the tensors follow.
pub(crate) fn write_header(
    out: &mut dyn Write,
    entry: &str,
    description: &impl Serialize,
    layout: Layout,
) -> io::Result<()> {
    let text = serde_json::to_string(description)?;
    let tensors = infos(layout).ok_or(io::ErrorKind::FileTooLarge)?;
    let metadata =
        Metadata::new(Some([(entry.to_owned(), text)].into()), tensors).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)
}

/// A file whose header was read. Any file is accepted or refused without a panic, and nothing is allocated beyond its length.
pub(crate) struct TensorFile {
    file: File,
    metadata: Metadata,
    /// Bytes of the file behind the header.
    data: u64,
}

impl TensorFile {
    pub(crate) fn open(path: &Path) -> Result<Self, TensorsError> {
        let mut file = open_file(path).map_err(io::Error::from)?;
        let bytes = file.metadata()?.len();
        let mut prefix = [0; 8];
        let mut length = 0;
        if bytes >= 8 {
            file.read_exact(&mut prefix)?;
            length = u64::from_le_bytes(prefix);
        }
        let largest = MAX_HEADER_BYTES.min(bytes.saturating_sub(8));
        if !(1..=largest).contains(&length) {
            return Err(malformed("the length of the header", length, format_args!("1 to {largest}")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header)?;
        // Tensors cover the data without gaps and overlaps, which the type ensures.
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| malformed("the header", error, "the header of a safetensors file"))?;
        Ok(Self { file, metadata, data: bytes - 8 - length })
    }

    /// Returns the description of the file in its metadata.
    pub(crate) fn description<D: DeserializeOwned>(
        &self,
        entry: &str,
        fields: &str,
    ) -> Result<D, TensorsError> {
        let text = self.metadata.metadata().as_ref().and_then(|entries| entries.get(entry));
        let Some(text) = text else {
            return Err(malformed(
                "the metadata",
                "without such an entry",
                format_args!("an entry `{entry}`"),
            ));
        };
        serde_json::from_str(text).map_err(|error| malformed(format!("`{entry}`"), error, fields))
    }

    /// Checks that the file has these tensors, in full, and nothing else.
    pub(crate) fn check(&self, layout: Layout) -> Result<(), TensorsError> {
        let expected = infos(layout).unwrap_or_default();
        let names = self.metadata.offset_keys();
        let found = |name: &str| self.metadata.info(name);
        let same = |(name, info): &(String, TensorInfo)| {
            let place = |info: &TensorInfo| (info.dtype, info.shape.clone(), info.data_offsets);
            found(name).map(place) == Some(place(info))
        };
        if names.len() != expected.len() || !expected.iter().all(same) {
            let found: Vec<_> = names.iter().filter_map(|name| Some((name.as_str(), found(name)?))).collect();
            let expected: Vec<_> = expected.iter().map(|(name, info)| (name.as_str(), info)).collect();
            return Err(malformed("the list of tensors", list(&found), list(&expected)));
        }
        let expected = self.metadata.data_len() as u64;
        if self.data != expected {
            return Err(malformed("the length of the data", self.data, format_args!("{expected} bytes")));
        }
        Ok(())
    }

    /// Reads the next `count` values of `N` bytes. Their number was [checked](Self::check).
    pub(crate) fn values<T, const N: usize>(
        &mut self,
        count: usize,
        value: impl Fn([u8; N]) -> T,
    ) -> io::Result<Vec<T>> {
        let mut values = Vec::with_capacity(count);
        let mut buffer = vec![0; BUFFER.min(count * N)];
        while values.len() < count {
            let bytes = (count - values.len()).min(BUFFER / N) * N;
            let bytes = &mut buffer[..bytes];
            self.file.read_exact(bytes)?;
            values.extend(bytes.as_chunks::<N>().0.iter().map(|&bytes| value(bytes)));
        }
        Ok(values)
    }
}

/// Places tensors one behind the other. `None` if a size overflows.
fn infos(layout: Layout) -> Option<Vec<(String, TensorInfo)>> {
    let mut end = 0usize;
    layout
        .into_iter()
        .map(|(name, dtype, shape)| {
            let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
            let start = end;
            end = start.checked_add(elements.checked_mul(dtype.bitsize() / 8)?)?;
            Some((name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) }))
        })
        .collect()
}

fn list(tensors: &[(&str, &TensorInfo)]) -> String {
    let list = tensors.iter().map(|(name, info)| format!("`{name}` {:?} {:?}", info.dtype, info.shape));
    list.collect::<Vec<_>>().join(", ")
}
