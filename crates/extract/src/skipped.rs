//! `skipped.jsonl`: the records without a row.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ExtractError;

pub(crate) const SKIPPED: &str = "skipped.jsonl";

/// A record that is not in the store: a line of `skipped.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The record's key.
    pub key: String,
    /// Why it was skipped.
    pub reason: String,
}

/// The file, locked for as long as the value lives: one process at a time works in a folder.
#[derive(Debug)]
pub(crate) struct SkipLog {
    path: PathBuf,
    file: File,
    lines: u64,
    last: Option<Skipped>,
    unsynced: bool,
}

impl SkipLog {
    /// Opens the file of an output folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, ExtractError> {
        let path = folder.join(SKIPPED);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(ExtractError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, file, lines: 0, last: None, unsynced: false }),
            Err(TryLockError::WouldBlock) => Err(ExtractError::Busy { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(ExtractError::Io { path, source }),
        }
    }

    /// Drops everything behind the first `lines` lines, which must be there and whole.
    pub(crate) fn keep(&mut self, lines: u64) -> Result<(), ExtractError> {
        let io = ExtractError::io(&self.path);
        let mut reader = BufReader::new(&self.file);
        let (mut line, mut bytes) = (Vec::new(), 0);
        let mut read = || {
            reader.rewind()?;
            for found in 0..lines {
                line.clear();
                bytes += reader.read_until(b'\n', &mut line)? as u64;
                if line.last() != Some(&b'\n') {
                    return Ok(Err(format!("it has {found} lines, expected at least {lines}")));
                }
            }
            Ok(Ok(()))
        };
        let damaged = |reason| ExtractError::Damaged { path: self.path.clone(), reason };
        read().map_err(io)?.map_err(damaged)?;
        self.last = match lines {
            0 => None,
            _ => Some(serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?),
        };

        self.file.set_len(bytes).map_err(ExtractError::io(&self.path))?;
        self.file.seek(SeekFrom::Start(bytes)).map_err(ExtractError::io(&self.path))?;
        self.lines = lines;
        Ok(())
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// The last line that was kept.
    pub(crate) fn last(&self) -> Option<&Skipped> {
        self.last.as_ref()
    }

    /// Adds lines.
    pub(crate) fn add(&mut self, skipped: &[Skipped]) -> Result<(), ExtractError> {
        let mut text = Vec::new();
        for record in skipped {
            let line = serde_json::to_writer(&mut text, record);
            line.map_err(|error| ExtractError::io(&self.path)(error.into()))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(ExtractError::io(&self.path))?;
        self.lines += skipped.len() as u64;
        self.unsynced |= !skipped.is_empty();
        Ok(())
    }

    /// Makes the lines safe on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), ExtractError> {
        if self.unsynced {
            self.file.sync_data().map_err(ExtractError::io(&self.path))?;
            self.unsynced = false;
        }
        Ok(())
    }
}

/// How many lines the file of a finished store has.
pub(crate) fn count(folder: &Path) -> Result<u64, ExtractError> {
    let mut lines = 0;
    each_line(folder, |_| {
        lines += 1;
        Ok(())
    })?;
    Ok(lines)
}

/// The records that have no row in the finished store of an extraction, in the order of the source.
///
/// # Errors
/// [`ExtractError::Io`], and [`ExtractError::Damaged`] for a line that is not what an extraction writes.
pub fn read_skipped(folder: &Path) -> Result<Vec<Skipped>, ExtractError> {
    let mut skipped = Vec::new();
    each_line(folder, |line| {
        skipped.push(serde_json::from_slice(line).map_err(|error| ExtractError::Damaged {
            path: folder.join(SKIPPED),
            reason: format!("line {}: {error}", skipped.len() + 1),
        })?);
        Ok(())
    })?;
    Ok(skipped)
}

fn each_line(
    folder: &Path,
    mut see: impl FnMut(&[u8]) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    let path = folder.join(SKIPPED);
    let io = || ExtractError::io(&path);
    let mut reader = BufReader::new(File::open(&path).map_err(io())?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(io())? > 0 {
        see(&line)?;
        line.clear();
    }
    Ok(())
}
