//! Rows of delimited, optionally quoted fields.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::layout::Layout;
use super::physical_lines::{PhysicalLine, PhysicalLines};
use super::text::too_long;
use crate::DataError;

/// The fields of a row.
pub(super) type Fields = Vec<Vec<u8>>;

/// Maximum number of columns.
const MAX_COLUMNS: usize = 1 << 14;
/// Maximum number of lines of a row. Captions have a few; more mean that a quote is not closed.
const MAX_LINES: usize = 100;

/// Splits a file into rows, as pandas does: a quote at the beginning of a field opens it, the next one closes it unless it is
/// doubled, and all others are characters like any.
///
/// A row with a quote that does not close is skipped *alone*: the lines after it are read as the rows that they are. A quote
/// counts as not closed at the end of the file, after [`MAX_LINES`] lines or `max` bytes, and if text follows the quote that
/// closes a field of several lines, which is then the opening quote of another row.
pub(super) struct QuotedRows {
    lines: PhysicalLines,
    /// Lines that were read ahead in search of a closing quote.
    ahead: VecDeque<PhysicalLine>,
    layout: Layout,
    max: usize,
}

impl QuotedRows {
    pub(super) fn open(path: &Path, layout: Layout, max: usize) -> Result<Self, DataError> {
        Ok(Self { lines: PhysicalLines::open(path, max)?, ahead: VecDeque::new(), layout, max })
    }

    fn next_line(&mut self) -> io::Result<Option<PhysicalLine>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next_line(),
        }
    }

    /// Returns the fields of the next row, or the reason why it is skipped.
    pub(super) fn next_row(&mut self) -> io::Result<Option<Result<Fields, String>>> {
        let first = loop {
            match self.next_line()? {
                Some(line) if line.length == 0 => {}
                Some(line) => break line,
                None => return Ok(None),
            }
        };
        if first.length > self.max as u64 {
            return Ok(Some(Err(too_long("row", first.length, self.max as u64))));
        }
        let mut row = RowParser::new(self.layout);
        row.feed(&first.bytes);
        let (mut bytes, mut more) = (first.bytes.len(), Vec::new());
        while row.is_open() && more.len() < MAX_LINES && bytes <= self.max {
            let Some(line) = self.next_line()? else { break };
            row.feed(&line.bytes);
            bytes += line.bytes.len();
            more.push(line);
        }
        if row.is_open() || row.text_after_quote {
            more.into_iter().rev().for_each(|line| self.ahead.push_front(line));
            return Ok(Some(Err(format!(
                "a quote opens in the row (line {}) and does not close: double the quotes within a field, or read the \
                 file without quotes (`--no-quotes`)",
                first.number
            ))));
        }
        let fields = row.finish();
        if fields.len() > MAX_COLUMNS {
            return Ok(Some(Err(format!("the row has more than {MAX_COLUMNS} fields"))));
        }
        Ok(Some(Ok(fields)))
    }
}

/// Where the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a field.
    Start,
    /// In a field without quotes, or after its closing quote and further text.
    Plain,
    Quoted,
    /// After a quote in a quoted field, which closes it unless another quote follows.
    Quote,
}

struct RowParser {
    layout: Layout,
    state: State,
    fields: Fields,
    field: Vec<u8>,
    /// Whether the quoted field has a line break.
    has_break: bool,
    /// Whether text follows the closing quote of a field with a line break.
    text_after_quote: bool,
}

impl RowParser {
    fn new(layout: Layout) -> Self {
        let (fields, field) = (Vec::new(), Vec::new());
        Self { layout, state: State::Start, fields, field, has_break: false, text_after_quote: false }
    }

    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn feed(&mut self, line: &[u8]) {
        let Layout { delimiter, quotes, trim, .. } = self.layout;
        for &byte in line {
            let is_end = matches!(byte, b'\n' | b'\r');
            match self.state {
                State::Quoted if byte == b'"' => self.state = State::Quote,
                State::Quoted => {
                    self.has_break |= is_end;
                    self.field.push(byte);
                }
                State::Quote if byte == b'"' => {
                    self.field.push(byte);
                    self.state = State::Quoted;
                }
                State::Start if quotes && byte == b'"' => {
                    self.has_break = false;
                    self.state = State::Quoted;
                }
                State::Start if trim && byte == b' ' => {}
                _ if byte == delimiter => self.end_field(),
                _ if is_end => {}
                state => {
                    self.text_after_quote |= state == State::Quote && self.has_break;
                    self.field.push(byte);
                    self.state = State::Plain;
                }
            }
        }
    }

    fn end_field(&mut self) {
        let field = std::mem::take(&mut self.field);
        // One field too many is enough to know that there are.
        if self.fields.len() <= MAX_COLUMNS {
            self.fields.push(field);
        }
        self.state = State::Start;
    }

    fn finish(mut self) -> Fields {
        self.end_field();
        self.fields
    }
}
