//! Lines of a file with their ends.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::DataError;
use crate::file::open_file;

/// A line with its end.
pub(super) struct PhysicalLine {
    /// The number of the line, from 1.
    pub(super) number: u64,
    /// The bytes with the end of the line, which is a line feed, a carriage return or both. One byte more than the maximum is
    /// kept of a longer line.
    pub(super) bytes: Vec<u8>,
    /// The length of the line without its end.
    pub(super) length: u64,
}

/// Reads lines of bounded length. A byte order mark at the beginning is skipped.
pub(super) struct PhysicalLines {
    file: BufReader<File>,
    max: usize,
    number: u64,
}

impl PhysicalLines {
    pub(super) fn open(path: &Path, max: usize) -> Result<Self, DataError> {
        Ok(Self { file: BufReader::new(open_file(path)?), max, number: 0 })
    }

    pub(super) fn next_line(&mut self) -> io::Result<Option<PhysicalLine>> {
        if self.number == 0 {
            let mark = self.file.fill_buf()?.len() - sail_support::strip_bom(self.file.buffer()).len();
            self.file.consume(mark);
        }
        let (mut bytes, mut length) = (Vec::new(), 0u64);
        loop {
            let buffer = self.file.fill_buf()?;
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = self.max.saturating_add(1).saturating_sub(bytes.len());
            bytes.extend_from_slice(&part[..part.len().min(room)]);
            length += part.len() as u64;
            let (used, last) = (part.len(), buffer.is_empty());
            self.file.consume(used);
            if end.is_some() {
                for end in [&b"\r"[..], b"\n"] {
                    if self.file.fill_buf()?.starts_with(end) {
                        bytes.extend_from_slice(end);
                        self.file.consume(1);
                    }
                }
                break;
            }
            if last {
                if length == 0 {
                    return Ok(None);
                }
                break;
            }
        }
        self.number += 1;
        Ok(Some(PhysicalLine { number: self.number, bytes, length }))
    }
}
