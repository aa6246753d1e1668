//! `skipped.jsonl`: the skipped records.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sail_support::open_locked;
use serde::{Deserialize, Serialize};

use crate::error::ExtractError;

pub(crate) const SKIPPED: &str = "skipped.jsonl";

/// A skipped record: a line of `skipped.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Key of the record.
    pub key: String,
    /// The reason.
    pub reason: String,
}

/// The file. Its lock keeps other processes from writing to the folder.
#[derive(Debug)]
pub(crate) struct SkipLog {
    path: PathBuf,
    file: File,
    lines: u64,
    last: Option<Skipped>,
    unsynced: bool,
}

impl SkipLog {
    /// Opens and locks the file of an output folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, ExtractError> {
        let path = folder.join(SKIPPED);
        match open_locked(&path) {
            Ok(file) => Ok(Self { path, file, lines: 0, last: None, unsynced: false }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(ExtractError::Busy { path: folder.to_owned() })
            }
            Err(source) => Err(ExtractError::Io { path, source }),
        }
    }

    /// Truncates the file to the first `lines` lines, which must be complete.
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
                    return Ok(Err(format!("the file has {found} lines, expected at least {lines}")));
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

    /// Counts the lines of the file. A lock can keep other handles from reading it, even in this process.
    pub(crate) fn count(&mut self) -> Result<u64, ExtractError> {
        self.file.rewind().map_err(ExtractError::io(&self.path))?;
        let mut lines = 0;
        each_line(BufReader::new(&self.file), &self.path, |_| {
            lines += 1;
            Ok(())
        })?;
        Ok(lines)
    }

    /// Returns the number of lines.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns the last line at the time of [`keep`](Self::keep).
    pub(crate) fn last(&self) -> Option<&Skipped> {
        self.last.as_ref()
    }

    /// Appends lines.
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

    /// Syncs the file.
    pub(crate) fn sync(&mut self) -> Result<(), ExtractError> {
        if self.unsynced {
            self.file.sync_data().map_err(ExtractError::io(&self.path))?;
            self.unsynced = false;
        }
        Ok(())
    }
}

/// Counts the skipped records of a finished store.
pub(crate) fn count(folder: &Path) -> Result<u64, ExtractError> {
    read_skipped(folder).map(|skipped| skipped.len() as u64)
}

/// Reads the skipped records of a finished extraction, in the order of the source.
///
/// # Errors
/// [`ExtractError::Io`], and [`ExtractError::Damaged`] for a line that an extraction does not write.
pub fn read_skipped(folder: &Path) -> Result<Vec<Skipped>, ExtractError> {
    let path = folder.join(SKIPPED);
    let file = File::open(&path).map_err(ExtractError::io(&path))?;
    let mut skipped = Vec::new();
    each_line(BufReader::new(file), &path, |line| {
        skipped.push(serde_json::from_slice(line).map_err(|error| ExtractError::Damaged {
            path: path.clone(),
            reason: format!("line {}: {error}", skipped.len() + 1),
        })?);
        Ok(())
    })?;
    Ok(skipped)
}

fn each_line(
    mut reader: impl BufRead,
    path: &Path,
    mut work: impl FnMut(&[u8]) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(ExtractError::io(path))? > 0 {
        work(&line)?;
        line.clear();
    }
    Ok(())
}
