//! The keys in a shard, read on demand.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::DataError;
use crate::error::ensure_file;
use crate::file::read_at;

/// Number of keys that are read at once.
const BLOCK: usize = 1024;

/// The location of the keys in a shard.
#[derive(Debug)]
pub(crate) struct StoredKeys {
    pub(crate) rows: usize,
    /// Offset of the key offsets: one more than there are rows, 8 bytes each.
    pub(crate) offsets: u64,
    /// Offset of the keys.
    pub(crate) bytes: u64,
    /// Length of all keys in bytes.
    pub(crate) length: u64,
}

impl StoredKeys {
    /// Checks that the offsets cover the key bytes in order, and that every key is UTF-8.
    pub(crate) fn check(&self, file: &File, path: &Path) -> Result<(), DataError> {
        let mut start = 0;
        for first in (0..self.rows).step_by(BLOCK) {
            let rows = BLOCK.min(self.rows - first);
            let offsets = self.read_offsets(file, first, rows).map_err(DataError::io(path))?;
            for (row, &offset) in (first..).zip(&offsets) {
                let (least, most) = if row == 0 { (0, 0) } else { (start, self.length) };
                let expected = || format!("{least} to {most}");
                let valid = (least..=most).contains(&offset);
                ensure_file(valid, path, format!("key offset {row}"), offset, expected())?;
                start = offset;
            }
            let keys = self.read_bytes(file, &offsets).map_err(DataError::io(path))?;
            for (row, key) in (first..).zip(pieces(&keys, &offsets)) {
                if std::str::from_utf8(key).is_err() {
                    let found = format!("`{}`", String::from_utf8_lossy(key));
                    return ensure_file(false, path, format!("the key of row {row}"), found, "UTF-8");
                }
            }
        }
        ensure_file(start == self.length, path, "the last key offset", start, self.length)
    }

    /// Reads the keys of sorted rows into their outputs. Offsets are validated again, since the file may have changed.
    pub(crate) fn read(&self, file: &File, wanted: &mut [(usize, &mut String)]) -> io::Result<()> {
        for wanted in wanted.chunk_by_mut(|(before, _), (row, _)| *row == before + 1) {
            for wanted in wanted.chunks_mut(BLOCK) {
                let Some(&(first, _)) = wanted.first() else { continue };
                let offsets = self.read_offsets(file, first, wanted.len())?;
                if !offsets.is_sorted() || offsets.last().is_none_or(|&end| end > self.length) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "its key offsets are out of order",
                    ));
                }
                let keys = self.read_bytes(file, &offsets)?;
                for ((row, out), key) in wanted.iter_mut().zip(pieces(&keys, &offsets)) {
                    let key = std::str::from_utf8(key).map_err(|_| {
                        io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!("the key of row {row} is not UTF-8"),
                        )
                    })?;
                    key.clone_into(out);
                }
            }
        }
        Ok(())
    }

    /// Reads the offsets of consecutive rows, and the end of the last.
    fn read_offsets(&self, file: &File, first: usize, rows: usize) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; 8 * (rows + 1)];
        read_at(file, &mut bytes, self.offsets + 8 * first as u64)?;
        Ok(bytes.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect())
    }

    /// Reads the keys between valid offsets.
    fn read_bytes(&self, file: &File, offsets: &[u64]) -> io::Result<Vec<u8>> {
        let [start, .., end] = offsets else { return Ok(Vec::new()) };
        let mut bytes = vec![0; (end - start) as usize];
        read_at(file, &mut bytes, self.bytes + start)?;
        Ok(bytes)
    }
}

/// Splits bytes at valid offsets, the first of which is their start.
fn pieces<'a>(bytes: &'a [u8], offsets: &'a [u64]) -> impl Iterator<Item = &'a [u8]> {
    let start = offsets.first().copied().unwrap_or_default();
    let piece = move |pair: &[u64]| match *pair {
        [from, to] => &bytes[(from - start) as usize..(to - start) as usize],
        _ => &[],
    };
    offsets.windows(2).map(piece)
}
