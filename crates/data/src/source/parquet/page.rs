//! Pages of a column chunk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::codec::decompress;
use super::metadata::Chunk;
use super::thrift::Struct;

/// Maximum length of a page, compressed or not: enough for the largest image and several small ones.
const MAX_PAGE: u64 = 512 << 20;
/// Maximum length of the header of a page, which may contain the minimum and maximum value.
const MAX_HEADER: u64 = 1 << 20;

/// The header of a page. Field ids are those of `PageHeader` in `parquet.thrift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) kind: Kind,
    pub(super) values: u64,
    pub(super) encoding: i64,
    compressed: u64,
    uncompressed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dictionary,
    /// With the encodings of its levels.
    Data {
        repetition: i64,
        definition: i64,
    },
    /// With uncompressed levels; `repetition` and `definition` are their lengths.
    DataV2 {
        repetition: u64,
        definition: u64,
        is_compressed: bool,
    },
    /// Another kind, which is skipped.
    Other,
}

/// Iterates over the pages of a column chunk.
pub(super) struct Pages {
    file: File,
    position: u64,
    end: u64,
    codec: i64,
}

impl Pages {
    pub(super) fn new(file: File, chunk: &Chunk) -> Self {
        Self { file, position: chunk.start, end: chunk.start + chunk.length, codec: chunk.codec }
    }

    /// Returns the header of the next page, or `None` after the last. Call [`body`](Self::body) or [`skip`](Self::skip)
    /// afterwards.
    pub(super) fn header(&mut self) -> Result<Option<PageHeader>, String> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(None);
        }
        let mut size = 1 << 10;
        loop {
            let bytes = self.read(left.min(size))?;
            let mut rest = bytes.as_slice();
            if let Some(fields) = Struct::parse(&mut rest) {
                self.position += (bytes.len() - rest.len()) as u64;
                let header =
                    PageHeader::new(&fields).ok_or("a required field is missing in the header of a page")?;
                if header.compressed > self.end - self.position {
                    return Err("a page exceeds its column chunk".to_owned());
                }
                let most = header.compressed.max(header.uncompressed);
                if most > MAX_PAGE && header.kind != Kind::Other {
                    return Err(format!(
                        "a page has {most} bytes, expected at most {MAX_PAGE}: use a smaller page size"
                    ));
                }
                return Ok(Some(header));
            }
            if size >= left.min(MAX_HEADER) {
                return Err("the header of a page cannot be parsed".to_owned());
            }
            size *= 32;
        }
    }

    pub(super) fn skip(&mut self, header: &PageHeader) {
        self.position += header.compressed;
    }

    /// Reads and decompresses the page.
    pub(super) fn body(&mut self, header: &PageHeader) -> Result<Vec<u8>, String> {
        let bytes = self.read(header.compressed)?;
        self.position += header.compressed;
        let (levels, is_compressed) = match header.kind {
            Kind::DataV2 { repetition, definition, is_compressed } => {
                ((repetition.saturating_add(definition)), is_compressed)
            }
            _ => (0, true),
        };
        let (levels, values) = usize::try_from(levels)
            .ok()
            .and_then(|levels| bytes.split_at_checked(levels))
            .ok_or("the levels of a page exceed the page")?;
        let size = header.uncompressed.checked_sub(levels.len() as u64);
        let size = size.ok_or("the levels of a page exceed the page")? as usize;
        if self.codec == 0 || !is_compressed || size == 0 {
            let fits = bytes.len() as u64 == header.uncompressed || size == 0;
            return if fits {
                Ok(bytes)
            } else {
                Err("the size of a page does not match its header".to_owned())
            };
        }
        let values = decompress(self.codec, values, size)?;
        Ok(if levels.is_empty() { values } else { [levels, &values].concat() })
    }

    fn read(&mut self, bytes: u64) -> Result<Vec<u8>, String> {
        // The chunk is within the file, so its size is bounded.
        let mut buffer = vec![0; bytes as usize];
        self.file
            .seek(SeekFrom::Start(self.position))
            .and_then(|_| self.file.read_exact(&mut buffer))
            .map_err(|error| error.to_string())?;
        Ok(buffer)
    }
}

impl PageHeader {
    fn new(fields: &Struct) -> Option<Self> {
        let unsigned = |value: Option<i64>| u64::try_from(value?).ok();
        let (kind, values, encoding) = match fields.integer(1)? {
            0 => {
                let data = fields.structure(5)?;
                let kind = Kind::Data { definition: data.integer(3)?, repetition: data.integer(4)? };
                (kind, unsigned(data.integer(1))?, data.integer(2)?)
            }
            2 => {
                let dictionary = fields.structure(7)?;
                (Kind::Dictionary, unsigned(dictionary.integer(1))?, dictionary.integer(2)?)
            }
            3 => {
                let data = fields.structure(8)?;
                let kind = Kind::DataV2 {
                    definition: unsigned(data.integer(5))?,
                    repetition: unsigned(data.integer(6))?,
                    is_compressed: data.bool(7).unwrap_or(true),
                };
                (kind, unsigned(data.integer(1))?, data.integer(4)?)
            }
            _ => (Kind::Other, 0, 0),
        };
        let compressed = unsigned(fields.integer(3))?;
        Some(Self { kind, values, encoding, compressed, uncompressed: unsigned(fields.integer(2))? })
    }
}
