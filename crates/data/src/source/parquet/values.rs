//! The values of pages, decoded by the `parquet` crate.
//!
//! The crate allocates for counts that a file states, so they are checked against the size of the page before. It panics on
//! some invalid pages; panics are caught.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use parquet::basic::{Encoding, Repetition, Type as PhysicalType};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::Result as ParquetResult;
use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};
use sail_support::catch_panic;

use super::metadata::Physical;
use super::thrift::varint;
use crate::source::cell::Cell;

/// Maximum number of entries of a dictionary, which take 32 bytes each.
const MAX_DICTIONARY: u64 = 1 << 22;
/// Maximum number of delta-encoded values of a page, whose lengths are decoded at once.
const MAX_DELTA: u64 = 1 << 24;

/// Decodes the values of a column chunk, which are neither null nor lists.
pub(super) struct Values {
    reader: Reader,
    pages: Sender<Page>,
    physical: Physical,
    has_dictionary: bool,
}

enum Reader {
    Bytes(ColumnReaderImpl<ByteArrayType>),
    Fixed(ColumnReaderImpl<FixedLenByteArrayType>),
    Int32(ColumnReaderImpl<Int32Type>),
    Int64(ColumnReaderImpl<Int64Type>),
    Float(ColumnReaderImpl<FloatType>),
    Double(ColumnReaderImpl<DoubleType>),
    Boolean(ColumnReaderImpl<BoolType>),
}

impl Values {
    pub(super) fn new(physical: Physical) -> Result<Self, String> {
        let (kind, width) = match physical {
            Physical::Bytes => (PhysicalType::BYTE_ARRAY, -1),
            Physical::Fixed(width) => (PhysicalType::FIXED_LEN_BYTE_ARRAY, width as i32),
            Physical::Int32 { .. } => (PhysicalType::INT32, -1),
            Physical::Int64 { .. } => (PhysicalType::INT64, -1),
            Physical::Float => (PhysicalType::FLOAT, -1),
            Physical::Double => (PhysicalType::DOUBLE, -1),
            Physical::Boolean => (PhysicalType::BOOLEAN, -1),
        };
        // Nulls and lists are resolved before, so that the length of a list is bounded.
        let kind = Type::primitive_type_builder("value", kind)
            .with_repetition(Repetition::REQUIRED)
            .with_length(width)
            .build()
            .map_err(|error| error.to_string())?;
        let column = Arc::new(ColumnDescriptor::new(Arc::new(kind), 0, 0, ColumnPath::new(Vec::new())));
        let (pages, inbox) = channel();
        let inbox = Box::new(Inbox(inbox));
        let reader = match physical {
            Physical::Bytes => Reader::Bytes(ColumnReaderImpl::new(column, inbox)),
            Physical::Fixed(_) => Reader::Fixed(ColumnReaderImpl::new(column, inbox)),
            Physical::Int32 { .. } => Reader::Int32(ColumnReaderImpl::new(column, inbox)),
            Physical::Int64 { .. } => Reader::Int64(ColumnReaderImpl::new(column, inbox)),
            Physical::Float => Reader::Float(ColumnReaderImpl::new(column, inbox)),
            Physical::Double => Reader::Double(ColumnReaderImpl::new(column, inbox)),
            Physical::Boolean => Reader::Boolean(ColumnReaderImpl::new(column, inbox)),
        };
        Ok(Self { reader, pages, physical, has_dictionary: false })
    }

    /// Adds the dictionary, a page of `count` values.
    pub(super) fn set_dictionary(&mut self, page: Vec<u8>, count: u64, encoding: i64) -> Result<(), String> {
        if self.has_dictionary || !matches!(encoding, 0 | 2) {
            return Err("it has two dictionaries, or one without plain encoding".to_owned());
        }
        // The length of a value takes four bytes.
        let least = self.physical.width().unwrap_or(4) as u64;
        if count.checked_mul(least).is_none_or(|bytes| bytes > page.len() as u64) {
            return Err("the dictionary is truncated".to_owned());
        }
        if count > MAX_DICTIONARY {
            return Err(format!("the dictionary has {count} values, expected at most {MAX_DICTIONARY}"));
        }
        self.has_dictionary = true;
        self.send(Page::DictionaryPage {
            buf: page.into(),
            num_values: count as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        })
    }

    /// Adds a page of `count` values. All values of the previous page must have been read.
    pub(super) fn add_page(&mut self, page: Bytes, count: u64, encoding: i64) -> Result<(), String> {
        if count == 0 {
            return Ok(());
        }
        let encoding = match encoding {
            0 => Encoding::PLAIN,
            2 | 8 if self.has_dictionary => Encoding::RLE_DICTIONARY,
            2 | 8 => return Err("the dictionary is missing".to_owned()),
            3 if self.physical == Physical::Boolean => Encoding::RLE,
            5 => Encoding::DELTA_BINARY_PACKED,
            6 | 7 => {
                check_delta(&page, count, encoding)?;
                if encoding == 6 { Encoding::DELTA_LENGTH_BYTE_ARRAY } else { Encoding::DELTA_BYTE_ARRAY }
            }
            9 => {
                let width = self.physical.width().unwrap_or(0) as u64;
                if count.checked_mul(width) != Some(page.len() as u64) {
                    return Err("the values of a page do not have the size of their type".to_owned());
                }
                Encoding::BYTE_STREAM_SPLIT
            }
            encoding => return Err(format!("unsupported encoding {encoding}: write the file with pyarrow")),
        };
        self.send(Page::DataPage {
            buf: page,
            num_values: u32::try_from(count).map_err(|_| "a page has too many values")?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })
    }

    /// Returns the next value. Of values longer than `max`, only the length is returned.
    pub(super) fn next(&mut self, max: u64) -> Result<Cell, String> {
        Ok(match &mut self.reader {
            Reader::Bytes(reader) => bytes(next(reader)?.data(), max),
            Reader::Fixed(reader) => bytes(next(reader)?.data(), max),
            Reader::Int32(reader) => match (next(reader)?, self.physical) {
                (value, Physical::Int32 { unsigned: true }) => Cell::Integer((value as u32).to_string()),
                (value, _) => Cell::Integer(value.to_string()),
            },
            Reader::Int64(reader) => match (next(reader)?, self.physical) {
                (value, Physical::Int64 { unsigned: true }) => Cell::Integer((value as u64).to_string()),
                (value, _) => Cell::Integer(value.to_string()),
            },
            Reader::Float(reader) => Cell::Float(next(reader)?.to_string()),
            Reader::Double(reader) => Cell::Float(next(reader)?.to_string()),
            Reader::Boolean(reader) => Cell::Boolean(next(reader)?),
        })
    }

    fn send(&self, page: Page) -> Result<(), String> {
        self.pages.send(page).map_err(|error| error.to_string())
    }
}

/// The pages that are not decoded yet.
struct Inbox(Receiver<Page>);

impl Iterator for Inbox {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.try_recv().ok().map(Ok)
    }
}

impl PageReader for Inbox {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        self.next().transpose()
    }

    // Pages are skipped before they are added.
    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        Ok(None)
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        Ok(())
    }
}

fn next<T: DataType>(reader: &mut ColumnReaderImpl<T>) -> Result<T::T, String> {
    let mut value = Vec::with_capacity(1);
    catch_panic(|| reader.read_records(1, None, None, &mut value))
        .and_then(|read| read.map_err(|error| error.to_string()))
        .map_err(|reason| format!("the values of a page are invalid: {reason}"))?;
    value.pop().ok_or_else(|| "the values of a page are truncated".to_owned())
}

fn bytes(value: &[u8], max: u64) -> Cell {
    match value.len() as u64 {
        length if length > max => Cell::TooLong(length),
        _ => Cell::Bytes(value.to_vec()),
    }
}

/// Checks the counts that delta-encoded bytes state, since their decoder allocates for them.
fn check_delta(page: &[u8], count: u64, encoding: i64) -> Result<(), String> {
    if count > MAX_DELTA {
        return Err(format!(
            "a page has {count} values, expected at most {MAX_DELTA}: use a smaller page size"
        ));
    }
    let mut rest = page;
    // The lengths of the prefixes precede those of the suffixes.
    let streams = if encoding == 7 { 2 } else { 1 };
    for _ in 0..streams {
        let stated = skip_delta(&mut rest).ok_or("the lengths of the values are truncated")?;
        if stated != count {
            return Err(format!("a page has {stated} values, expected {count}"));
        }
    }
    Ok(())
}

/// Skips integers in the encoding `DELTA_BINARY_PACKED`, and returns their number.
///
/// See <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.
fn skip_delta(input: &mut &[u8]) -> Option<u64> {
    let block = varint(input)?;
    let miniblocks = varint(input)?;
    let count = varint(input)?;
    varint(input)?;
    let per_miniblock = block.checked_div(miniblocks).filter(|&values| values > 0)?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        varint(input)?;
        let widths = input.split_off(..usize::try_from(miniblocks).ok()?)?;
        for &width in widths {
            if left > 0 {
                let bytes = per_miniblock.checked_mul(u64::from(width))? / 8;
                input.split_off(..usize::try_from(bytes).ok()?)?;
                left = left.saturating_sub(per_miniblock);
            }
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_delta_encoded_integers() {
        // 128 values in four miniblocks, three values: 7, and two deltas of four bits in the first miniblock.
        let packed = [&[0x80, 1, 4, 3, 14, 0, 4, 0, 0, 0][..], &[0; 16], &[99]].concat();
        let mut input = packed.as_slice();
        assert_eq!(skip_delta(&mut input), Some(3));
        assert_eq!(input, [99]);
        for length in 0..packed.len() - 1 {
            assert_eq!(skip_delta(&mut &packed[..length]), None, "{length}");
        }
        assert_eq!(skip_delta(&mut [0x80, 1, 0, 3, 0, 0].as_slice()), None);
        assert_eq!(skip_delta(&mut [0, 1, 3, 0, 0].as_slice()), None);
    }
}
