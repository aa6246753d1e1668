//! The pages of a column chunk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::metadata::Chunk;
use super::thrift::Struct;

/// The most bytes of a page, compressed and not: room for the largest image and the small ones beside it.
const MAX_PAGE: u64 = 512 << 20;
/// The most bytes of the header of a page, which may quote its least and greatest value.
const MAX_HEADER: u64 = 1 << 20;

/// What the header of a page says. Field ids are those of `PageHeader` in `parquet.thrift`.
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
    Data,
    /// With levels that are not compressed; `repetition` and `definition` are their bytes.
    DataV2 {
        repetition: u64,
        definition: u64,
        is_compressed: bool,
    },
    /// Another kind, to be passed over.
    Other,
}

/// Goes from page to page of a column chunk.
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

    /// The header of the next page; `None` behind the last. One of [`body`](Self::body) and
    /// [`pass_over`](Self::pass_over) has to follow.
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
                let header = PageHeader::new(&fields).ok_or("a page's header lacks what it must have")?;
                if header.compressed > self.end - self.position {
                    return Err("a page goes on beyond its column chunk".to_owned());
                }
                let most = header.compressed.max(header.uncompressed);
                if most > MAX_PAGE && header.kind != Kind::Other {
                    return Err(format!(
                        "a page has {most} bytes, expected at most {MAX_PAGE}: write it with smaller pages"
                    ));
                }
                return Ok(Some(header));
            }
            if size >= left.min(MAX_HEADER) {
                return Err("a page's header cannot be parsed".to_owned());
            }
            size *= 32;
        }
    }

    pub(super) fn pass_over(&mut self, header: &PageHeader) {
        self.position += header.compressed;
    }

    /// What the page holds, decompressed.
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
            .ok_or("the levels of a page go on beyond it")?;
        let size = header.uncompressed.checked_sub(levels.len() as u64);
        let size = size.ok_or("the levels of a page go on beyond it")? as usize;
        if self.codec == 0 || !is_compressed || size == 0 {
            let fits = bytes.len() as u64 == header.uncompressed || size == 0;
            return if fits { Ok(bytes) } else { Err("a page has another size than it says".to_owned()) };
        }
        let values = decompress(self.codec, values, size)?;
        if values.len() != size {
            return Err(format!("a page has {} bytes decompressed, expected {size}", values.len()));
        }
        Ok(if levels.is_empty() { values } else { [levels, &values].concat() })
    }

    fn read(&mut self, bytes: u64) -> Result<Vec<u8>, String> {
        // The chunk is within the file, so this is memory that the file warrants.
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
        let unsigned = |number: Option<i64>| u64::try_from(number?).ok();
        let (kind, values, encoding) = match fields.integer(1)? {
            0 => {
                let data = fields.structure(5)?;
                (Kind::Data, unsigned(data.integer(1))?, data.integer(2)?)
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

/// Decompresses to at most `size` bytes, or one more where there is more; nothing beyond that is held,
/// whatever the input says.
fn decompress(codec: i64, input: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let corrupt = |error: &dyn std::fmt::Display| format!("a page cannot be decompressed: {error}");
    match codec {
        1 => {
            let stated = snap::raw::decompress_len(input).map_err(|error| corrupt(&error))?;
            if stated != size {
                return Err(format!("a page has {stated} bytes decompressed, expected {size}"));
            }
            snap::raw::Decoder::new().decompress_vec(input).map_err(|error| corrupt(&error))
        }
        2 => {
            let mut output = Vec::new();
            let mut input = flate2::read::MultiGzDecoder::new(input).take(size as u64 + 1);
            input.read_to_end(&mut output).map_err(|error| corrupt(&error))?;
            Ok(output)
        }
        6 => zstd::bulk::decompress(input, size).map_err(|error| corrupt(&error)),
        _ => {
            let name = match codec {
                3 => "LZO",
                4 => "Brotli",
                5 | 7 => "LZ4",
                _ => "an unknown codec",
            };
            Err(format!("it is compressed with {name}: write it with Snappy, Gzip or Zstandard, or without"))
        }
    }
}
