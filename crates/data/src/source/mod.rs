//! Images and captions as they are found: folders, tables, archives.
//!
//! [`open_images`] and [`open_captions`] choose by what is there and say what is read, in which order and
//! under which keys. Whatever a dataset names stays in its folder, nothing is unpacked or executed, and a row
//! that cannot be used is a record with a reason, so that one bad row does not end a job.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::error::ensure_file;

mod chain;
mod coco;
mod delimited;
mod folder;
mod image_root;
mod json_lines;
mod lines;
mod members;
mod open;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod shards;
mod table;
mod tar;
mod text;
mod window;

pub use image_root::{ImageRoot, is_image_name};
pub use open::{open_captions, open_images};
pub use options::SourceOptions;
pub use tar::tar_members;

/// The bytes of an image file, or where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageData {
    /// A file, read when its turn comes.
    File(PathBuf),
    /// Bytes from a table or an archive.
    Bytes(Vec<u8>),
}

/// One record of a source: its key, and what it holds or why that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<T> {
    /// What pairs the row with its counterpart; where a record has no key of its own, a name for it.
    pub key: String,
    /// An image or a caption, or the reason why the row is skipped.
    pub value: Result<T, String>,
}

/// A walk over records, each of which can fail to be read at all.
pub type Records<T> = Box<dyn Iterator<Item = Result<Record<T>, DataError>> + Send>;

/// Images ([`ImageData`]) or captions ([`String`]) in an order that never changes.
///
/// A position counts every record, those that are skipped too.
pub trait RecordSource<T>: Send + Sync {
    /// How many records there are. This may read the whole source once, but never keeps it.
    ///
    /// # Errors
    /// [`DataError`] where the source as a whole cannot be read.
    fn count(&self) -> Result<u64, DataError>;

    /// Walks over a range of positions.
    ///
    /// # Errors
    /// [`DataError`] where the source as a whole cannot be read.
    fn records(&self, range: Range<u64>) -> Result<Records<T>, DataError>;
}

/// Opens a file, and nothing else: to open a named pipe would wait for its writer.
fn open_regular(path: &Path) -> Result<File, DataError> {
    let kind = fs::metadata(path).map_err(DataError::io(path))?;
    ensure_file(kind.is_file(), path, "the entry", "a folder or a device", "a regular file")?;
    File::open(path).map_err(DataError::io(path))
}
