//! One file of a store: a plain safetensors file with rows and their keys.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use sail_core::{FeatureError, write_atomic};
use sha2::{Digest, Sha256};

use super::manifest::{Manifest, ShardEntry, shard_name};
use crate::DataError;
use crate::error::ensure_file;
use crate::mapped::{Mapped, MatrixView};

/// `[rows, dim]` in the store's number type.
const EMBEDDINGS: &str = "embeddings";
/// All keys one after the other in UTF-8, `[n]`.
const KEY_BYTES: &str = "key_bytes";
/// Where in `key_bytes` each key begins, and the end of the last, `[rows + 1]`.
const KEY_OFFSETS: &str = "key_offsets";

/// Rows on their way to a file.
#[derive(Debug)]
pub(crate) struct ShardBuffer {
    pub(crate) values: Vec<u8>,
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) key_offsets: Vec<u64>,
}

impl ShardBuffer {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), key_bytes: Vec::new(), key_offsets: vec![0] }
    }

    pub(crate) fn rows(&self) -> usize {
        self.key_offsets.len() - 1
    }

    pub(crate) fn push_key(&mut self, key: &str) {
        self.key_bytes.extend_from_slice(key.as_bytes());
        self.key_offsets.push(self.key_bytes.len() as u64);
    }

    /// The key and the values of a row, both as bytes.
    pub(crate) fn row(&self, row: usize) -> (&[u8], &[u8]) {
        let key = self.key_offsets[row] as usize..self.key_offsets[row + 1] as usize;
        let size = self.values.len() / self.rows();
        (&self.key_bytes[key], &self.values[row * size..(row + 1) * size])
    }

    /// Writes the first `rows` rows as the next shard of `manifest` into `folder` and takes them out of the
    /// buffer, which keeps its memory.
    pub(crate) fn write(
        &mut self,
        rows: usize,
        folder: &Path,
        manifest: &Manifest,
    ) -> Result<ShardEntry, DataError> {
        let file = shard_name(manifest.shards.len());
        let path = folder.join(&file);
        let key_end = self.key_offsets[rows];
        let key_bytes = &self.key_bytes[..key_end as usize];
        let values = &self.values[..rows * manifest.dim * manifest.dtype.size()];
        // Widest type first, so that every tensor is aligned.
        let mut end = 0;
        let mut tensor = |name: &str, dtype, shape, bytes| {
            let start = end;
            end += bytes;
            (name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
        };
        let tensors = vec![
            tensor(KEY_OFFSETS, safetensors::Dtype::U64, vec![rows + 1], 8 * (rows + 1)),
            tensor(EMBEDDINGS, manifest.dtype.to_safetensors(), vec![rows, manifest.dim], values.len()),
            tensor(KEY_BYTES, safetensors::Dtype::U8, vec![key_bytes.len()], key_bytes.len()),
        ];
        let metadata = Metadata::new(None, tensors)
            .map_err(|source| DataError::Safetensors { path: path.clone(), source })?;

        let mut entry = ShardEntry { file, rows, bytes: 0, sha256: String::new() };
        write_atomic(&path, |out| {
            let mut header = serde_json::to_vec(&metadata)?;
            header.resize(header.len().next_multiple_of(8), b' ');
            let mut out = Hashing { out, hash: Sha256::new(), bytes: 0 };
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            for offset in &self.key_offsets[..=rows] {
                out.write_all(&offset.to_le_bytes())?;
            }
            out.write_all(values)?;
            out.write_all(key_bytes)?;
            entry.bytes = out.bytes;
            entry.sha256 = hexadecimal(out.hash);
            io::Result::Ok(())
        })
        .map_err(DataError::io(&path))?;
        let values = values.len();
        self.values.drain(..values);
        self.key_bytes.drain(..key_end as usize);
        self.key_offsets.drain(..rows);
        self.key_offsets.iter_mut().for_each(|offset| *offset -= key_end);
        Ok(entry)
    }
}

/// Hashes and counts what passes through.
struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

pub(crate) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A shard that agrees with its manifest, mapped into memory.
#[derive(Debug)]
pub(crate) struct Shard {
    file: Mapped,
    matrix: MatrixView,
    key_bytes: Range<usize>,
    key_offsets: Range<usize>,
}

impl Shard {
    /// Maps a shard and checks all that reading rows and keys relies on. Reads the keys, not the
    /// embeddings.
    pub(crate) fn open(folder: &Path, manifest: &Manifest, entry: &ShardEntry) -> Result<Self, DataError> {
        let path = &folder.join(&entry.file);
        let file = Mapped::open(path)?;
        let bytes = file.bytes().len() as u64;
        ensure_file(
            bytes == entry.bytes,
            path,
            "the length",
            bytes,
            format!("{} bytes as the manifest says", entry.bytes),
        )?;
        let header = file.header()?;
        let tensor = |name: &str| {
            header.metadata.info(name).ok_or_else(|| DataError::NoTensor {
                path: path.clone(),
                wanted: format!("tensor `{name}`"),
                available: format!("`{}`", header.metadata.offset_keys().join("`, `")),
            })
        };

        let info = tensor(EMBEDDINGS)?;
        let expected = format!("{:?} {:?}", manifest.dtype.to_safetensors(), [entry.rows, manifest.dim]);
        let matrix = MatrixView::new(&header, info)
            .filter(|m| (m.rows, m.dim, m.dtype) == (entry.rows, manifest.dim, manifest.dtype));
        let Some(matrix) = matrix else {
            return Err(malformed_tensor(path, EMBEDDINGS, info, expected));
        };
        let offsets = tensor(KEY_OFFSETS)?;
        if offsets.dtype != safetensors::Dtype::U64 || offsets.shape != [matrix.rows + 1] {
            let expected = format!("U64 [{}]", matrix.rows + 1);
            return Err(malformed_tensor(path, KEY_OFFSETS, offsets, expected));
        }
        let keys = tensor(KEY_BYTES)?;
        if keys.dtype != safetensors::Dtype::U8 || keys.shape.len() != 1 {
            return Err(malformed_tensor(path, KEY_BYTES, keys, "U8 [n]".to_owned()));
        }
        let (key_bytes, key_offsets) = (header.range(keys), header.range(offsets));
        let shard = Self { file, matrix, key_bytes, key_offsets };
        shard.check_keys()?;
        Ok(shard)
    }

    /// The offsets cover the key bytes in order, and every key is UTF-8.
    fn check_keys(&self) -> Result<(), DataError> {
        let path = self.file.path();
        let offsets = self.file.bytes()[self.key_offsets.clone()].as_chunks().0;
        let keys = &self.file.bytes()[self.key_bytes.clone()];
        let mut start = 0;
        for (row, offset) in offsets.iter().map(|&bytes| u64::from_le_bytes(bytes)).enumerate() {
            // The offset at `row` is the end of the key before it.
            let (least, most) = if row == 0 { (0, 0) } else { (start, keys.len()) };
            let end = usize::try_from(offset).ok().filter(|end| (least..=most).contains(end));
            let Some(end) = end else {
                let expected = format!("{least} to {most}");
                return ensure_file(false, path, format!("key offset {row}"), offset, expected);
            };
            if row > 0 && std::str::from_utf8(&keys[start..end]).is_err() {
                let found = format!("`{}`", String::from_utf8_lossy(&keys[start..end]));
                return ensure_file(false, path, format!("the key of row {}", row - 1), found, "UTF-8");
            }
            start = end;
        }
        ensure_file(start == keys.len(), path, "the last key offset", start, keys.len())
    }

    pub(crate) fn rows(&self) -> usize {
        self.matrix.rows
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.file.bytes().len() as u64
    }

    /// The key of a row of this shard. Bounds and UTF-8 were checked on opening; checked again, because
    /// the file can have changed since.
    pub(crate) fn key(&self, row: usize) -> Cow<'_, str> {
        let offsets = self.file.bytes()[self.key_offsets.clone()].as_chunks().0;
        let keys = &self.file.bytes()[self.key_bytes.clone()];
        let offset = |row: usize| usize::try_from(u64::from_le_bytes(*offsets.get(row)?)).ok();
        let key = offset(row).zip(offset(row + 1)).and_then(|(start, end)| keys.get(start..end));
        String::from_utf8_lossy(key.unwrap_or_default())
    }

    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        self.matrix.copy_row(self.file.bytes(), row, out);
    }

    pub(crate) fn unchanged(&self) -> Result<(), FeatureError> {
        self.file.unchanged()
    }

    /// Hashes the file, read in pieces rather than through the map so that memory stays small.
    pub(crate) fn verify(&self, expected: &str, progress: impl Fn(u64)) -> Result<(), DataError> {
        let path = self.file.path();
        let mut file = File::open(path).map_err(DataError::io(path))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).map_err(DataError::io(path))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            progress(read as u64);
        }
        let found = hexadecimal(hash);
        if found == expected {
            return Ok(());
        }
        Err(DataError::Checksum { path: path.to_owned(), expected: expected.to_owned(), found })
    }
}

fn malformed_tensor(path: &Path, name: &str, found: &TensorInfo, expected: String) -> DataError {
    DataError::Malformed {
        path: path.to_owned(),
        what: format!("tensor `{name}`"),
        found: format!("{:?} {:?}", found.dtype, found.shape),
        expected,
    }
}
