//! The tail: an append-only file of rows that do not fill a shard yet.
//!
//! A shard is written once, when it is full. Until then its rows are appended to a tail, each as the length of its key
//! (u32, little-endian), the key and the values. So the cost of saving depends on the new rows, not on the shard.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sail_support::hex;
use sha2::{Digest, Sha256};

use super::manifest::TailEntry;
use super::row_buffer::RowBuffer;
use crate::DataError;
use crate::error::ensure_file;
use crate::file::open_file;

/// The suffix of file names, which identifies files to clean up.
pub(crate) const TAIL_SUFFIX: &str = ".tail";

/// The saved rows of the shard that is being filled.
#[derive(Debug)]
pub(crate) struct Tail {
    shard: usize,
    rows: usize,
    bytes: u64,
    hash: Sha256,
    file: Option<File>,
}

impl Tail {
    /// Creates a tail without rows and without a file.
    pub(crate) fn new(shard: usize) -> Self {
        Self { shard, rows: 0, bytes: 0, hash: Sha256::new(), file: None }
    }

    /// Index of the shard that the rows belong to.
    pub(crate) fn shard(&self) -> usize {
        self.shard
    }

    /// Name of the file, if there are rows.
    pub(crate) fn name(&self) -> Option<String> {
        self.file.as_ref().map(|_| name(self.shard))
    }

    pub(crate) fn entry(&self) -> TailEntry {
        TailEntry { rows: self.rows, bytes: self.bytes, sha256: hex(&self.hash.clone().finalize()) }
    }

    /// Appends the rows of the buffer that are not saved yet, and syncs the file. After an error nothing is appended, and the
    /// next call tries again.
    pub(crate) fn save(&mut self, folder: &Path, buffer: &RowBuffer) -> Result<(), DataError> {
        if self.rows == buffer.rows() {
            return Ok(());
        }
        let path = folder.join(name(self.shard));
        let (mut bytes, mut hash) = (self.bytes, self.hash.clone());
        let mut add = || {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(open(&path)?),
            };
            file.set_len(self.bytes)?;
            file.seek(SeekFrom::Start(self.bytes))?;
            let mut out = BufWriter::with_capacity(1 << 20, file);
            for row in self.rows..buffer.rows() {
                let (key, values) = buffer.row(row);
                for part in [&(key.len() as u32).to_le_bytes(), key, values] {
                    out.write_all(part)?;
                    hash.update(part);
                    bytes += part.len() as u64;
                }
            }
            out.flush()?;
            out.get_ref().sync_data()
        };
        add().map_err(DataError::io(&path))?;
        (self.rows, self.bytes, self.hash) = (buffer.rows(), bytes, hash);
        Ok(())
    }

    /// Reads the saved rows, each of `row_bytes` bytes.
    pub(crate) fn open(
        folder: &Path,
        shard: usize,
        entry: &TailEntry,
        row_bytes: usize,
    ) -> Result<(Self, RowBuffer), DataError> {
        let path = folder.join(name(shard));
        let mut buffer = RowBuffer::new();
        if entry.rows == 0 {
            return Ok((Self::new(shard), buffer));
        }
        // Checked before memory is allocated for it.
        let length = open_file(&path)?.metadata().map_err(DataError::io(&path))?.len();
        let expected = format!("at least {} bytes", entry.bytes);
        ensure_file(length >= entry.bytes, &path, "the length", length, expected)?;
        let file = open(&path).map_err(DataError::io(&path))?;
        let mut rest = BufReader::with_capacity(1 << 20, (&file).take(entry.bytes));
        let mut hash = Sha256::new();
        let mut values = vec![0; row_bytes];
        let mut bytes = 0;
        for row in 0..entry.rows {
            let mut length = [0; 4];
            let mut key = Vec::new();
            let mut read = || {
                rest.read_exact(&mut length)?;
                (&mut rest).take(u32::from_le_bytes(length).into()).read_to_end(&mut key)?;
                rest.read_exact(&mut values)
            };
            read().map_err(DataError::io(&path))?;
            hash.update(length);
            hash.update(&key);
            hash.update(&values);
            match std::str::from_utf8(&key) {
                Ok(key) => buffer.push_key(key),
                Err(_) => {
                    let found = format!("`{}`", String::from_utf8_lossy(&key));
                    ensure_file(false, &path, format!("the key of row {row}"), found, "UTF-8")?;
                }
            }
            buffer.values.extend_from_slice(&values);
            bytes += (length.len() + key.len() + values.len()) as u64;
        }
        let expected = format!("{bytes}, the sum over its rows");
        ensure_file(bytes == entry.bytes, &path, "the recorded length", entry.bytes, expected)?;
        let found = hex(&hash.clone().finalize());
        if found != entry.sha256 {
            return Err(DataError::Checksum { path, expected: entry.sha256.clone(), found });
        }
        Ok((Self { shard, rows: entry.rows, bytes: entry.bytes, hash, file: Some(file) }, buffer))
    }
}

/// The name of the tail of a shard.
fn name(shard: usize) -> String {
    format!("shard-{shard:05}{TAIL_SUFFIX}")
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}
