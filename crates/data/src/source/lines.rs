//! Lines of bounded length, and captions one a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::text::{caption, too_long};
use super::window::{Window, count};
use super::{Record, RecordSource, Records, open_regular};
use crate::DataError;

/// A line without its end, or why it is not read.
pub(super) type Line = Result<Vec<u8>, String>;

/// Goes over the lines of a file. A line that is too long is passed over without being held.
pub(super) struct Lines {
    file: BufReader<File>,
    path: PathBuf,
    max: usize,
    first: bool,
}

impl Lines {
    pub(super) fn open(path: &Path, max: usize) -> Result<Self, DataError> {
        Ok(Self { file: BufReader::new(open_regular(path)?), path: path.to_owned(), max, first: true })
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
        if std::mem::take(&mut self.first) && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.len() > self.max {
            return Ok(Some(Err(too_long("line", bytes, self.max as u64))));
        }
        Ok(Some(Ok(line)))
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What may stand in a line besides its text, and one byte more to tell that it is too long.
const END_AND_MARK: usize = 5;

impl Iterator for Lines {
    type Item = Result<Line, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(DataError::io(&self.path)).transpose()
    }
}

/// A text file with one caption a line. A key is the number of its line, from 1.
#[derive(Debug)]
pub(super) struct TextLines {
    path: PathBuf,
    max: usize,
}

impl TextLines {
    pub(super) fn open(path: &Path, max: usize) -> Result<Self, DataError> {
        open_regular(path)?;
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
