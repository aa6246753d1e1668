//! Members of tar archives.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header, PaxExtensions};

use crate::DataError;
use crate::file::open_file;

const BLOCK: u64 = 512;
/// Maximum length of a name, or of the extended header that contains it.
const MAX_NAME: u64 = 1 << 16;

/// A member: its name, and the location of its data.
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) offset: u64,
    pub(super) size: u64,
    /// The reason if it is not a regular file.
    pub(super) fault: Option<&'static str>,
    pub(super) is_folder: bool,
}

/// Iterates over the headers and skips the data. Nothing is unpacked.
///
/// Headers are parsed by `tar`, whose own iterator would read names of any length into memory.
pub(super) struct Members {
    file: BufReader<File>,
    path: PathBuf,
    length: u64,
    /// Offset of the next header.
    next: u64,
    done: bool,
}

/// The fields of extended headers, which apply to the next member.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Members {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let file = open_file(path)?;
        let length = file.metadata().map_err(DataError::io(path))?.len();
        Ok(Self { file: BufReader::new(file), path: path.to_owned(), length, next: 0, done: false })
    }

    fn read(&mut self) -> Result<Option<Member>, DataError> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            let own_size = header.entry_size().map_err(|error| self.damaged(error))?;
            let describes = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions();
            let size = extended.size.filter(|_| !describes).unwrap_or(own_size);
            let offset = self.next;
            let end = size.checked_next_multiple_of(BLOCK).and_then(|padded| offset.checked_add(padded));
            // The last padding may be missing, if the end-of-archive marker is missing too.
            let Some(end) = end.filter(|_| size <= self.length.saturating_sub(offset)) else {
                return Err(self.damaged("a member exceeds the end of the file"));
            };
            self.next = end;
            if kind.is_gnu_longname() {
                let mut name = self.contents(offset, size)?;
                name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                extended.name = Some(name);
            } else if kind.is_pax_local_extensions() {
                let records = self.contents(offset, size)?;
                self.apply(&records, &mut extended)?;
            } else if !describes {
                let name = extended.name.unwrap_or_else(|| header.path_bytes().into_owned());
                let fault = fault(kind, extended.sparse);
                return Ok(Some(Member { name, offset, size, fault, is_folder: kind.is_dir() }));
            }
        }
    }

    /// Returns the next header, or `None` at the end-of-archive marker.
    fn header(&mut self) -> Result<Option<Header>, DataError> {
        let mut header = Header::new_old();
        if self.length.saturating_sub(self.next) < BLOCK {
            return Err(self.damaged("the end-of-archive marker is missing"));
        }
        self.read_at(self.next, header.as_mut_bytes())?;
        self.next += BLOCK;
        let bytes = header.as_bytes();
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        // The checksum field itself counts as spaces.
        let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
        let own: u32 = bytes[148..156].iter().map(|&byte| u32::from(byte)).sum();
        let stated = header.cksum().map_err(|error| self.damaged(error))?;
        if sum - own + 8 * u32::from(b' ') != stated {
            return Err(self.damaged("the checksum of a header does not match"));
        }
        Ok(Some(header))
    }

    fn contents(&mut self, offset: u64, size: u64) -> Result<Vec<u8>, DataError> {
        if size > MAX_NAME {
            return Err(
                self.damaged(format!("an extended header has {size} bytes, expected at most {MAX_NAME}"))
            );
        }
        let mut bytes = vec![0; size as usize];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn apply(&self, records: &[u8], extended: &mut Extended) -> Result<(), DataError> {
        for record in PaxExtensions::new(records) {
            let record = record.map_err(|error| self.damaged(error))?;
            match record.key_bytes() {
                b"path" => extended.name = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|size| size.parse().ok());
                    extended.size =
                        Some(size.ok_or_else(|| self.damaged("the size of a member is not a number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => extended.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), DataError> {
        // A relative seek keeps the buffer.
        let position = self.file.stream_position().map_err(DataError::io(&self.path))?;
        let distance = offset as i64 - position as i64;
        self.file
            .seek_relative(distance)
            .and_then(|()| self.file.read_exact(bytes))
            .map_err(DataError::io(&self.path))
    }

    fn damaged(&self, reason: impl ToString) -> DataError {
        DataError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }
}

fn fault(kind: EntryType, sparse: bool) -> Option<&'static str> {
    match kind {
        EntryType::Regular | EntryType::Continuous if !sparse => None,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            Some("the member is a sparse file, expected a regular file")
        }
        EntryType::Link | EntryType::Symlink => Some("the member is a link, expected a regular file"),
        _ => Some("the member is a folder or a device, expected a regular file"),
    }
}

impl Iterator for Members {
    type Item = Result<Member, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let member = self.read();
        self.done = !matches!(member, Ok(Some(_)));
        member.transpose()
    }
}

/// Reads the data of members.
pub(super) struct Contents {
    file: File,
    path: PathBuf,
}

impl Contents {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        Ok(Self { file: open_file(path)?, path: path.to_owned() })
    }

    pub(super) fn read(&mut self, member: &Member) -> Result<Vec<u8>, DataError> {
        // The member is within the file, so its size is bounded.
        let mut bytes = vec![0; member.size as usize];
        self.file
            .seek(SeekFrom::Start(member.offset))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(DataError::io(&self.path))?;
        Ok(bytes)
    }
}
