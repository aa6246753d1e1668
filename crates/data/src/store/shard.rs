//! One file of a store: a plain safetensors file with rows and their keys.

use std::io::{self, Read, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use sail_core::FeatureError;
use sail_support::write_atomic;
use sha2::{Digest, Sha256};

use super::keys::StoredKeys;
use super::manifest::{Manifest, ShardEntry, shard_name};
use crate::DataError;
use crate::error::ensure_file;
use crate::file::StableFile;
use crate::header::Header;
use crate::stored_matrix::StoredMatrix;

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

/// A shard that agrees with its manifest.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) file: StableFile,
    pub(crate) matrix: StoredMatrix,
    keys: StoredKeys,
}

impl Shard {
    /// Opens a shard and checks all that reading rows and keys relies on. Reads the keys, not the embeddings.
    pub(crate) fn open(folder: &Path, manifest: &Manifest, entry: &ShardEntry) -> Result<Self, DataError> {
        let path = &folder.join(&entry.file);
        let file = StableFile::open(path)?;
        let expected = format!("{} bytes as the manifest says", entry.bytes);
        ensure_file(file.bytes() == entry.bytes, path, "the length", file.bytes(), expected)?;
        let header = Header::read(&file)?;
        let tensor = |name: &str| {
            header.metadata.info(name).ok_or_else(|| DataError::NoTensor {
                path: path.clone(),
                wanted: format!("tensor `{name}`"),
                available: format!("`{}`", header.metadata.offset_keys().join("`, `")),
            })
        };

        let info = tensor(EMBEDDINGS)?;
        let expected = format!("{:?} {:?}", manifest.dtype.to_safetensors(), [entry.rows, manifest.dim]);
        let matrix = StoredMatrix::new(&header, info)
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
        let &[length] = keys.shape.as_slice() else {
            return Err(malformed_tensor(path, KEY_BYTES, keys, "U8 [n]".to_owned()));
        };
        if keys.dtype != safetensors::Dtype::U8 {
            return Err(malformed_tensor(path, KEY_BYTES, keys, "U8 [n]".to_owned()));
        }
        let keys = StoredKeys {
            rows: matrix.rows,
            offsets: header.start(offsets),
            bytes: header.start(keys),
            length: length as u64,
        };
        file.read(|from| Ok(keys.check(from, path)))??;
        Ok(Self { file, matrix, keys })
    }

    pub(crate) fn rows(&self) -> usize {
        self.matrix.rows
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Reads the keys of rows of this shard, which are sorted, to their places.
    pub(crate) fn read_keys(&self, wanted: &mut [(usize, &mut String)]) -> Result<(), FeatureError> {
        self.file.read(|from| self.keys.read(from, wanted))
    }

    /// Hashes the file, a piece at a time.
    pub(crate) fn verify(&self, expected: &str, progress: impl Fn(u64)) -> Result<(), DataError> {
        let mut hash = Sha256::new();
        self.file.read(|mut from| {
            let mut buffer = vec![0; 1 << 20];
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    return Ok(());
                }
                hash.update(&buffer[..read]);
                progress(read as u64);
            }
        })?;
        let found = hexadecimal(hash);
        if found == expected {
            return Ok(());
        }
        let path = self.file.path().to_owned();
        Err(DataError::Checksum { path, expected: expected.to_owned(), found })
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
