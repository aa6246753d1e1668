//! A folder of images.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image_root::{ImageRoot, is_image_name};
use super::options::SourceOptions;
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
    entries: Arc<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// The path relative to the folder, with `/` as separator.
    key: Box<str>,
    /// The reason if the entry cannot be an image.
    fault: Option<&'static str>,
}

impl Folder {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        let mut entries = Vec::new();
        let mut folders = vec![(path.to_owned(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            list(&folder, &prefix, &mut entries, &mut folders)?;
        }
        if entries.is_empty() {
            return Err(DataError::NotASource { path: path.to_owned(), wanted: "images" });
        }
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { root: Arc::new(ImageRoot::new(path, options)?), entries: Arc::new(entries) })
    }
}

fn list(
    folder: &Path,
    prefix: &str,
    entries: &mut Vec<Entry>,
    folders: &mut Vec<(PathBuf, String)>,
) -> Result<(), DataError> {
    for entry in fs::read_dir(folder).map_err(DataError::io(folder))? {
        let entry = entry.map_err(DataError::io(folder))?;
        let name = entry.file_name();
        let key = format!("{prefix}{}", name.to_string_lossy());
        let kind = entry.file_type().map_err(DataError::io(folder))?;
        let linked_folder = kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|to| to.is_dir());
        let image = || is_image_name(&key);
        let fault = match name.to_str() {
            _ if linked_folder => Some("it is a link to a folder, and such links are not followed"),
            Some(_) if kind.is_dir() => {
                folders.push((entry.path(), format!("{key}/")));
                continue;
            }
            None if kind.is_dir() => Some("the name of the folder is not valid UTF-8, as keys must be"),
            _ if !image() => continue,
            None => Some("the name of the file is not valid UTF-8"),
            Some(_) => None,
        };
        entries.push(Entry { key: key.into_boxed_str(), fault });
    }
    Ok(())
}

impl RecordSource<ImageData> for Folder {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.entries.len() as u64)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let (root, entries) = (Arc::clone(&self.root), Arc::clone(&self.entries));
        Ok(positions(range, entries.len(), move |position| {
            let Entry { key, fault } = &entries[position];
            let value = match fault {
                Some(fault) => Err((*fault).to_owned()),
                None => root.image(key),
            };
            Record { key: key.to_string(), value }
        }))
    }
}
