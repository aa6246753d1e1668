//! A folder of images.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::image_root::{ImageRoot, is_image_name};
use super::listing::{Entry, list};
use super::options::SourceOptions;
use super::passed_over::PassedOver;
use super::record::{ImageData, Record, RecordSource, Records};
use super::window::positions;
use crate::DataError;

/// All files below a folder with the extension of an image.
///
/// The names are listed once, when the folder is opened, and kept: about 80 bytes per image. They are sorted by the bytes of
/// the keys.
#[derive(Debug)]
pub(super) struct Folder {
    root: Arc<ImageRoot>,
    entries: Arc<Vec<FolderEntry>>,
    passed_over: PassedOver,
}

/// An image, or an entry that cannot be one.
#[derive(Debug)]
pub(super) struct FolderEntry {
    /// The path relative to the folder, with `/` as separator.
    pub(super) key: Box<str>,
    /// The reason if the entry cannot be an image.
    pub(super) fault: Option<&'static str>,
}

/// Lists a folder. Files that are not images are passed to `other`.
pub(super) fn images(root: &ImageRoot, mut other: impl FnMut(Entry)) -> Result<Vec<FolderEntry>, DataError> {
    let mut entries = Vec::new();
    list(root.folder(), root.follows_links(), |entry| match entry.is_folder || is_image_name(&entry.key) {
        true => entries.push(FolderEntry { key: entry.key.into_boxed_str(), fault: entry.fault }),
        false => other(entry),
    })?;
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(entries)
}

impl Folder {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        let (root, mut passed_over) = (ImageRoot::new(path, options)?, PassedOver::default());
        let entries = images(&root, |file| passed_over.add(&file.key))?;
        if entries.is_empty() {
            return Err(DataError::NotASource { path: path.to_owned(), wanted: "images", passed_over });
        }
        Ok(Self { root: Arc::new(root), entries: Arc::new(entries), passed_over })
    }
}

impl RecordSource<ImageData> for Folder {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.entries.len() as u64)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let (root, entries) = (Arc::clone(&self.root), Arc::clone(&self.entries));
        Ok(positions(range, entries.len(), move |position| {
            let FolderEntry { key, fault } = &entries[position];
            let value = match fault {
                Some(fault) => Err((*fault).to_owned()),
                None => root.image(key),
            };
            Record { key: key.to_string(), value }
        }))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        Ok(self.passed_over.clone())
    }
}
