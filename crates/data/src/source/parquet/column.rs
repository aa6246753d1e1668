//! Values of a column chunk, row by row.

use std::ops::Range;

use super::hybrid::Hybrid;
use super::metadata::{Chunk, Leaf, Physical};
use super::page::{Kind, PageHeader, Pages};
use crate::source::table::Cell;

/// Maximum length of the list of a row.
const MAX_LIST: usize = 1 << 16;

/// Iterates over the rows of a column chunk, with one page and the dictionary in memory.
pub(super) struct ColumnReader {
    pages: Pages,
    leaf: Leaf,
    /// Values that are not read yet, including nulls and empty lists.
    left: u64,
    page: Option<Page>,
    dictionary: Option<Values>,
    /// Maximum length of the values of a row in bytes.
    max: u64,
}

/// A data page.
struct Page {
    bytes: Vec<u8>,
    /// Values that are not read yet.
    left: u64,
    repetition: Option<Levels>,
    definition: Option<Hybrid>,
    values: Encoded,
}

/// Repetition levels, with one level of lookahead.
struct Levels {
    levels: Hybrid,
    next: Option<u32>,
}

enum Encoded {
    /// Offset of the next value.
    Plain(usize),
    /// Indices into the dictionary.
    Indexed(Hybrid),
}

/// The values of a dictionary.
enum Values {
    /// Length-prefixed values, and their offsets.
    Bytes {
        bytes: Vec<u8>,
        offsets: Vec<u32>,
    },
    Integers(Vec<i64>),
}

impl ColumnReader {
    pub(super) fn new(pages: Pages, leaf: Leaf, chunk: &Chunk, max: u64) -> Self {
        Self { pages, leaf, left: chunk.values, page: None, dictionary: None, max }
    }

    /// Skips rows of a column without lists. Whole pages are not read.
    pub(super) fn skip(&mut self, mut rows: u64) -> Result<(), String> {
        while rows > 0 {
            if self.page.is_none() {
                let header = self.data_header()?.ok_or("it has fewer rows than stated")?;
                if header.values <= rows {
                    self.pages.skip(&header);
                    rows -= header.values;
                    self.take(header.values)?;
                    continue;
                }
                self.open_page(header)?;
            }
            self.value(0)?;
            rows -= 1;
        }
        Ok(())
    }

    /// Returns the next row.
    pub(super) fn cell(&mut self) -> Result<Cell, String> {
        if !self.leaf.repeated {
            self.ready()?.ok_or("it has fewer rows than stated")?;
            return self.value(self.max);
        }
        if self.next_repetition()? != Some(0) {
            return Err("a list does not start where a row does".to_owned());
        }
        let mut cells = Vec::new();
        let mut max = self.max;
        loop {
            let cell = self.value(max)?;
            if let Cell::Bytes(bytes) = &cell {
                max -= bytes.len() as u64;
            }
            cells.push(cell);
            if matches!(self.next_repetition()?, None | Some(0)) {
                break;
            }
            if cells.len() == MAX_LIST {
                return Err(format!("a row has more than {MAX_LIST} values"));
            }
        }
        Ok(Cell::List(cells))
    }

    /// Checks that all values are read.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        if self.left > 0 || self.ready()?.is_some() {
            return Err("it has more rows than stated".to_owned());
        }
        Ok(())
    }

    /// Returns the repetition level of the next value, or `None` after the last.
    fn next_repetition(&mut self) -> Result<Option<u32>, String> {
        if self.ready()?.is_none() {
            return Ok(None);
        }
        let Some(Page { bytes, repetition: Some(levels), .. }) = &mut self.page else { return Ok(Some(0)) };
        if levels.next.is_none() {
            levels.next = Some(levels.levels.next(bytes).ok_or("the repetition levels are truncated")?);
        }
        Ok(levels.next)
    }

    /// Opens the next page if the current one is finished. Returns `None` after the last.
    fn ready(&mut self) -> Result<Option<()>, String> {
        while self.page.is_none() {
            let Some(header) = self.data_header()? else { return Ok(None) };
            self.open_page(header)?;
        }
        Ok(Some(()))
    }

    /// Subtracts from the values that are not read yet.
    fn take(&mut self, values: u64) -> Result<(), String> {
        self.left = self.left.checked_sub(values).ok_or("it has more values than stated")?;
        Ok(())
    }

    /// Returns the header of the next data page. A dictionary page before it is read.
    fn data_header(&mut self) -> Result<Option<PageHeader>, String> {
        while let Some(header) = self.pages.header()? {
            match header.kind {
                Kind::Data | Kind::DataV2 { .. } => return Ok(Some(header)),
                Kind::Other => self.pages.skip(&header),
                Kind::Dictionary => {
                    if self.dictionary.is_some() || !matches!(header.encoding, 0 | 2) {
                        return Err("it has two dictionaries, or one without plain encoding".to_owned());
                    }
                    let bytes = self.pages.body(&header)?;
                    self.dictionary = Some(Values::plain(bytes, self.leaf.physical, header.values)?);
                }
            }
        }
        Ok(None)
    }

    fn open_page(&mut self, header: PageHeader) -> Result<(), String> {
        self.take(header.values)?;
        let bytes = self.pages.body(&header)?;
        let levels = "the levels of a page exceed the page";
        let max_definition = self.leaf.max_definition;
        let mut at = 0;
        // The span of levels of `stated` bytes, or with a length prefix.
        let mut span = |stated: Option<u64>| -> Option<Range<usize>> {
            let length = match stated {
                Some(length) => usize::try_from(length).ok()?,
                None => {
                    let length = u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?);
                    at += 4;
                    length as usize
                }
            };
            let span = at..at.checked_add(length).filter(|&end| end <= bytes.len())?;
            at = span.end;
            Some(span)
        };
        let (repetition, definition) = match header.kind {
            Kind::DataV2 { repetition, definition, .. } => {
                (Some(span(Some(repetition)).ok_or(levels)?), Some(span(Some(definition)).ok_or(levels)?))
            }
            _ => {
                let repetition = self.leaf.repeated.then(|| span(None).ok_or(levels)).transpose()?;
                (repetition, (max_definition > 0).then(|| span(None).ok_or(levels)).transpose()?)
            }
        };
        let repetition = repetition.filter(|_| self.leaf.repeated).and_then(|span| Hybrid::new(span, 1));
        let definition = definition
            .filter(|_| max_definition > 0)
            .and_then(|span| Hybrid::new(span, u32::BITS - max_definition.leading_zeros()));
        let values = match header.encoding {
            0 => Encoded::Plain(at),
            2 | 8 => {
                // A page of nulls may be empty.
                let width = bytes.get(at).map_or(0, |&width| u32::from(width));
                let span = (at + 1).min(bytes.len())..bytes.len();
                Encoded::Indexed(
                    Hybrid::new(span, width)
                        .ok_or("the bit width of the dictionary indices is out of range")?,
                )
            }
            encoding => return Err(unknown_encoding(encoding)),
        };
        let repetition = repetition.map(|levels| Levels { levels, next: None });
        self.page = (header.values > 0).then_some(Page {
            bytes,
            left: header.values,
            repetition,
            definition,
            values,
        });
        Ok(())
    }

    /// Returns the next value of the page, which must exist. Of values longer than `max`, only the length is returned.
    fn value(&mut self, max: u64) -> Result<Cell, String> {
        let page = self.page.as_mut().ok_or("it has fewer rows than stated")?;
        page.left -= 1;
        if let Some(levels) = &mut page.repetition {
            levels.next = None;
        }
        let max_definition = self.leaf.max_definition;
        let definition = match &mut page.definition {
            Some(levels) => levels.next(&page.bytes).ok_or("the definition levels are truncated")?,
            None => max_definition,
        };
        let cell = if definition == max_definition {
            page.read(self.leaf.physical, self.dictionary.as_ref(), max)?
        } else {
            Cell::Missing
        };
        if page.left == 0 {
            self.page = None;
        }
        Ok(cell)
    }
}

fn unknown_encoding(encoding: i64) -> String {
    let name = match encoding {
        5 => "DELTA_BINARY_PACKED",
        6 => "DELTA_LENGTH_BYTE_ARRAY",
        7 => "DELTA_BYTE_ARRAY",
        9 => "BYTE_STREAM_SPLIT",
        _ => "unknown",
    };
    format!("unsupported encoding {name}: use the plain or dictionary encoding")
}

impl Page {
    fn read(&mut self, physical: Physical, dictionary: Option<&Values>, max: u64) -> Result<Cell, String> {
        let early = "the values of a page are truncated";
        match &mut self.values {
            Encoded::Plain(at) => match physical {
                Physical::Bytes => {
                    let span = span(&self.bytes, *at).ok_or(early)?;
                    *at = span.end;
                    Ok(bytes(&self.bytes[span], max))
                }
                Physical::Int32 { .. } | Physical::Int64 { .. } => {
                    let (value, end) = integer(&self.bytes, *at, physical).ok_or(early)?;
                    *at = end;
                    Ok(decimal(value, physical))
                }
            },
            Encoded::Indexed(indices) => {
                let index = indices.next(&self.bytes).ok_or(early)? as usize;
                let outside = || format!("the dictionary index {index} is out of range");
                match dictionary.ok_or("the dictionary is missing")? {
                    Values::Bytes { bytes: dictionary, offsets } => {
                        let offset = *offsets.get(index).ok_or_else(outside)? as usize;
                        let span = span(dictionary, offset).ok_or_else(outside)?;
                        Ok(bytes(&dictionary[span], max))
                    }
                    Values::Integers(values) => {
                        Ok(decimal(*values.get(index).ok_or_else(outside)?, physical))
                    }
                }
            }
        }
    }
}

impl Values {
    fn plain(bytes: Vec<u8>, physical: Physical, count: u64) -> Result<Self, String> {
        let early = "the dictionary is truncated";
        let mut at = 0;
        // No allocation for the stated count, which is not trusted.
        if physical == Physical::Bytes {
            let mut offsets = Vec::new();
            for _ in 0..count {
                offsets.push(u32::try_from(at).map_err(|_| early)?);
                at = span(&bytes, at).ok_or(early)?.end;
            }
            return Ok(Self::Bytes { bytes, offsets });
        }
        let mut values = Vec::new();
        for _ in 0..count {
            let (value, end) = integer(&bytes, at, physical).ok_or(early)?;
            at = end;
            values.push(value);
        }
        Ok(Self::Integers(values))
    }
}

/// Returns the span of the length-prefixed bytes at `at`.
fn span(page: &[u8], at: usize) -> Option<Range<usize>> {
    let length = u32::from_le_bytes(*page.get(at..)?.first_chunk()?) as usize;
    let start = at + 4;
    let end = start.checked_add(length).filter(|&end| end <= page.len())?;
    Some(start..end)
}

/// Returns the integer at `at`, and its end.
fn integer(page: &[u8], at: usize, physical: Physical) -> Option<(i64, usize)> {
    let rest = page.get(at..)?;
    match physical {
        Physical::Int64 { .. } => Some((i64::from_le_bytes(*rest.first_chunk()?), at + 8)),
        Physical::Int32 { .. } | Physical::Bytes => {
            Some((i32::from_le_bytes(*rest.first_chunk()?).into(), at + 4))
        }
    }
}

fn bytes(value: &[u8], max: u64) -> Cell {
    match value.len() as u64 {
        length if length > max => Cell::TooLong(length),
        _ => Cell::Bytes(value.to_vec()),
    }
}

fn decimal(value: i64, physical: Physical) -> Cell {
    Cell::Integer(match physical {
        Physical::Int32 { unsigned: true } => (value as u32).to_string(),
        Physical::Int64 { unsigned: true } => (value as u64).to_string(),
        _ => value.to_string(),
    })
}
