//! A shard: a plain safetensors file with rows and their keys.

use std::io::{self, Read, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use sail_core::{FeatureError, FeatureSource, check_rows};
use sail_support::{hex, ranges, write_atomic};
use sha2::{Digest, Sha256};

use super::keys::StoredKeys;
use super::manifest::{Manifest, ShardEntry, shard_name};
use super::row_buffer::RowBuffer;
use crate::DataError;
use crate::error::ensure_file;
use crate::file::StableFile;
use crate::hashing::Hashing;
use crate::header::Header;
use crate::stored_matrix::StoredMatrix;

/// `[rows, dim]` in the dtype of the store; `[rows, bytes]` for `int8`.
const EMBEDDINGS: &str = "embeddings";
/// The concatenated keys in UTF-8, `[n]`.
const KEY_BYTES: &str = "key_bytes";
/// The start of each key in `key_bytes`, and the end of the last, `[rows + 1]`.
const KEY_OFFSETS: &str = "key_offsets";

/// Writes the first `rows` rows of a buffer as the next shard of `manifest` into `folder`.
pub(crate) fn write(
    buffer: &RowBuffer,
    rows: usize,
    folder: &Path,
    manifest: &Manifest,
) -> Result<ShardEntry, DataError> {
    let file = shard_name(manifest.shards.len());
    let path = folder.join(&file);
    let key_end = buffer.key_offsets[rows];
    let key_bytes = &buffer.key_bytes[..key_end as usize];
    let values = &buffer.values[..rows * manifest.codec().row_bytes()];
    let (dtype, width) = manifest.codec().tensor();
    // Widest dtype first, so that every tensor is aligned.
    let mut end = 0;
    let mut tensor = |name: &str, dtype, shape, bytes| {
        let start = end;
        end += bytes;
        (name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let tensors = vec![
        tensor(KEY_OFFSETS, safetensors::Dtype::U64, vec![rows + 1], 8 * (rows + 1)),
        tensor(EMBEDDINGS, dtype, vec![rows, width], values.len()),
        tensor(KEY_BYTES, safetensors::Dtype::U8, vec![key_bytes.len()], key_bytes.len()),
    ];
    let metadata = Metadata::new(None, tensors)
        .map_err(|source| DataError::Safetensors { path: path.clone(), source })?;

    let mut entry = ShardEntry { file, rows, bytes: 0, sha256: String::new() };
    write_atomic(&path, |out| {
        let mut header = serde_json::to_vec(&metadata)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut out = Hashing::new(out);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for offset in &buffer.key_offsets[..=rows] {
            out.write_all(&offset.to_le_bytes())?;
        }
        out.write_all(values)?;
        out.write_all(key_bytes)?;
        (entry.bytes, entry.sha256) = out.finish();
        io::Result::Ok(())
    })
    .map_err(DataError::io(&path))?;
    Ok(entry)
}

/// A shard that matches its manifest.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) file: StableFile,
    pub(crate) matrix: StoredMatrix,
    keys: StoredKeys,
}

impl Shard {
    /// Opens a shard and validates its header. Reads neither keys nor embeddings.
    pub(crate) fn open(folder: &Path, manifest: &Manifest, entry: &ShardEntry) -> Result<Self, DataError> {
        let path = &folder.join(&entry.file);
        let file = StableFile::open(path)?;
        let expected = format!("{} bytes as in the manifest", entry.bytes);
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
        let (dtype, width) = manifest.codec().tensor();
        let expected = format!("{dtype:?} {:?}", [entry.rows, width]);
        let matrix = StoredMatrix::with_codec(&header, info, manifest.codec());
        let matrix = matrix.filter(|matrix| matrix.rows == entry.rows);
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
        Ok(Self { file, matrix, keys })
    }

    pub(crate) fn rows(&self) -> usize {
        self.matrix.rows
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Reads the keys of sorted rows of this shard.
    pub(crate) fn read_keys(&self, wanted: &mut [(usize, &mut String)]) -> Result<(), FeatureError> {
        self.file.read(|from| self.keys.read(from, wanted))
    }

    /// Reads the file once and checks all of it: its SHA-256, its keys, and its rows, the first of which is `first` of
    /// `rows`.
    pub(crate) fn verify(
        &self,
        expected: &str,
        rows: &dyn FeatureSource,
        first: usize,
        progress: impl Fn(u64),
    ) -> Result<(), DataError> {
        let mut hash = Sha256::new();
        let (mut buffer, mut values) = (Vec::new(), Vec::new());
        let mut unusable = Ok(());
        let Self { file, matrix, keys } = self;
        let keys = file.read(|mut from| {
            let mut next = |buffer: &mut Vec<u8>, bytes: usize| {
                buffer.resize(bytes, 0);
                from.read_exact(buffer)?;
                hash.update(buffer.as_slice());
                progress(bytes as u64);
                io::Result::Ok(())
            };
            read_blocks(matrix.start, &mut buffer, &mut next)?;
            for block in ranges(matrix.rows, (BLOCK / matrix.row_bytes()).max(1)) {
                next(&mut buffer, block.len() * matrix.row_bytes())?;
                if unusable.is_ok() {
                    values.resize(block.len() * matrix.codec.dim, 0.0);
                    matrix.codec.decode(&buffer, &mut values);
                    let block: Vec<usize> = block.map(|row| first + row).collect();
                    unusable = check_rows(rows, &block, &values);
                }
            }
            read_blocks(file.bytes() - matrix.end(), &mut buffer, &mut next)?;
            Ok(keys.check(from, file.path()))
        })?;
        let found = hex(&hash.finalize());
        if found != expected {
            let path = file.path().to_owned();
            return Err(DataError::Checksum { path, expected: expected.to_owned(), found });
        }
        keys?;
        Ok(unusable?)
    }
}

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

fn read_blocks(
    bytes: u64,
    buffer: &mut Vec<u8>,
    mut next: impl FnMut(&mut Vec<u8>, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let block = left.min(BLOCK as u64);
        next(buffer, block as usize)?;
        left -= block;
    }
    Ok(())
}

fn malformed_tensor(path: &Path, name: &str, found: &TensorInfo, expected: String) -> DataError {
    DataError::Malformed {
        path: path.to_owned(),
        what: format!("tensor `{name}`"),
        found: format!("{:?} {:?}", found.dtype, found.shape),
        expected,
    }
}
