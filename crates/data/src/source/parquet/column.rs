//! Values of a column chunk, row by row.

use std::ops::Range;

use bytes::Bytes;

use super::levels::Hybrid;
use super::metadata::{Chunk, Leaf};
use super::page::{Kind, PageHeader, Pages};
use super::values::Values;
use crate::source::cell::Cell;

/// Maximum length of the list of a row.
const MAX_LIST: usize = 1 << 16;

/// Iterates over the rows of a column chunk, with one page and the dictionary in memory.
///
/// Levels are read here, one at a time, so that a page cannot ask for a list of any length; [`Values`] decodes the values.
pub(super) struct ColumnReader {
    pages: Pages,
    leaf: Leaf,
    /// Values that are not read yet, including nulls and empty lists.
    left: u64,
    page: Option<Page>,
    values: Values,
    /// Maximum length of the values of a row in bytes.
    max: u64,
}

/// The levels of a data page.
struct Page {
    bytes: Bytes,
    /// Values that are not read yet.
    left: u64,
    repetition: Option<Levels>,
    definition: Option<Hybrid>,
}

/// Repetition levels, with one level of lookahead.
struct Levels {
    levels: Hybrid,
    next: Option<u32>,
}

impl ColumnReader {
    pub(super) fn new(pages: Pages, leaf: Leaf, chunk: &Chunk, max: u64) -> Result<Self, String> {
        let values = Values::new(leaf.physical)?;
        Ok(Self { pages, leaf, left: chunk.values, page: None, values, max })
    }

    /// Skips rows. Whole pages of a column without lists are not read.
    pub(super) fn skip(&mut self, mut rows: u64) -> Result<(), String> {
        if self.leaf.repeated {
            return (0..rows).try_for_each(|_| self.cell().map(drop));
        }
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
                Kind::Data { .. } | Kind::DataV2 { .. } => return Ok(Some(header)),
                Kind::Other => self.pages.skip(&header),
                Kind::Dictionary => {
                    let bytes = self.pages.body(&header)?;
                    self.values.set_dictionary(bytes, header.values, header.encoding)?;
                }
            }
        }
        Ok(None)
    }

    fn open_page(&mut self, header: PageHeader) -> Result<(), String> {
        self.take(header.values)?;
        let bytes = Bytes::from(self.pages.body(&header)?);
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
            Kind::Data { repetition, definition } => {
                if self.leaf.repeated && repetition != 3 || max_definition > 0 && definition != 3 {
                    return Err("unsupported encoding of levels: write the file with pyarrow".to_owned());
                }
                let repetition = self.leaf.repeated.then(|| span(None).ok_or(levels)).transpose()?;
                (repetition, (max_definition > 0).then(|| span(None).ok_or(levels)).transpose()?)
            }
            Kind::Dictionary | Kind::Other => (None, None),
        };
        let repetition = repetition.filter(|_| self.leaf.repeated).and_then(|span| Hybrid::new(span, 1));
        let definition = definition
            .filter(|_| max_definition > 0)
            .and_then(|span| Hybrid::new(span, u32::BITS - max_definition.leading_zeros()));
        let values = match &definition {
            Some(levels) => levels
                .count(&bytes, max_definition, header.values)
                .ok_or("the definition levels are truncated")?,
            None => header.values,
        };
        self.values.add_page(bytes.slice(at..), values, header.encoding)?;
        let repetition = repetition.map(|levels| Levels { levels, next: None });
        self.page =
            (header.values > 0).then_some(Page { bytes, left: header.values, repetition, definition });
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
        let cell = if definition == max_definition { self.values.next(max)? } else { Cell::Missing };
        if page.left == 0 {
            self.page = None;
        }
        Ok(cell)
    }
}
