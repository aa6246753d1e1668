//! Lines of bounded length, and text files with one caption per line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::record::{Record, RecordSource, Records};
use super::text::{caption, too_long};
use super::window::{Window, count};
use crate::DataError;
use crate::file::open_file;

/// A line without its terminator, or the reason why it is skipped.
pub(super) type Line = Result<Vec<u8>, String>;

/// Iterates over the lines of a file. The end of a line that is too long is not stored.
pub(super) struct Lines {
    file: BufReader<File>,
    path: PathBuf,
    max: usize,
    first: bool,
}

impl Lines {
    pub(super) fn open(path: &Path, max: usize) -> Result<Self, DataError> {
        Ok(Self { file: BufReader::new(open_file(path)?), path: path.to_owned(), max, first: true })
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        if self.file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut line = Vec::new();
        let mut bytes = 0;
        loop {
            let buffer = self.file.fill_buf()?;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = self.max.saturating_add(END_AND_MARK).saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            bytes += part.len() as u64;
            let (used, done) = (part.len() + usize::from(end.is_some()), end.is_some() || buffer.is_empty());
            self.file.consume(used);
            if done {
                break;
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.first) {
            line.drain(..line.len() - sail_support::strip_bom(&line).len());
        }
        if line.len() > self.max {
            return Ok(Some(Err(too_long("line", bytes, self.max as u64))));
        }
        Ok(Some(Ok(line)))
    }
}

/// Bytes of a line besides its text, and one more to detect that it is too long.
const END_AND_MARK: usize = 5;

impl Iterator for Lines {
    type Item = Result<Line, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(DataError::io(&self.path)).transpose()
    }
}

/// A text file with one caption per line. The key is the line number, from 1.
#[derive(Debug)]
pub(super) struct TextLines {
    path: PathBuf,
    max: usize,
}

impl TextLines {
    pub(super) fn open(path: &Path, max: usize) -> Result<Self, DataError> {
        open_file(path)?;
        Ok(Self { path: path.to_owned(), max })
    }
}

impl RecordSource<String> for TextLines {
    fn count(&self) -> Result<u64, DataError> {
        count(Lines::open(&self.path, self.max)?)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<String>, DataError> {
        let max = self.max;
        let mut number = range.start;
        let lines = Window::new(Lines::open(&self.path, max)?, 0, &range);
        Ok(Box::new(lines.map(move |line| {
            number += 1;
            line.map(|line| match line.and_then(|line| caption(line, max)) {
                Ok(caption) => Record { key: number.to_string(), value: Ok(caption) },
                Err(reason) => Record { key: format!("line {number}"), value: Err(reason) },
            })
        })))
    }
}
