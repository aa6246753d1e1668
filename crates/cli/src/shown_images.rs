//! Images in a report.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};

use sail_support::read_bounded;
use sail_vl::data::source::{ImageData, ImageRoot, SourceOptions};
use sail_vl::data::{DecodeLimits, decode_image};
use sail_vl::report::Image;
use sail_vl::search::{Entry, Index};
use sail_vl::tasks::encode_thumbnail;

use crate::error::CliError;
use crate::galleries::SIDE;

/// The images that a report shows, by their keys: files in a folder, or those of an index. Without either, the keys take their
/// place.
pub(crate) struct ShownImages<'a> {
    origin: Origin<'a>,
    any: Cell<bool>,
    problem: RefCell<Option<String>>,
}

enum Origin<'a> {
    None,
    Folder(PathBuf, ImageRoot),
    Index(&'a Index),
}

impl<'a> ShownImages<'a> {
    /// The images of an index, or else of a folder.
    pub(crate) fn open(index: Option<&'a Index>, folder: Option<&Path>) -> Result<Self, CliError> {
        let options = SourceOptions { follow_links: true, ..SourceOptions::default() };
        let origin = match (index, folder) {
            (Some(_), Some(_)) => {
                let message = "`--image-dir` has no meaning for an index, which knows where its images are: leave it out";
                return Err(CliError::Usage(message.to_owned()));
            }
            (Some(index), None) => Origin::Index(index),
            (None, Some(folder)) => Origin::Folder(folder.to_owned(), ImageRoot::new(folder, &options)?),
            (None, None) => Origin::None,
        };
        Ok(Self { origin, any: Cell::new(false), problem: RefCell::new(None) })
    }

    /// Returns an image, or what is shown in its place and the reason.
    pub(crate) fn show(&self, key: &str) -> (Image, Option<String>) {
        let (loaded, path) = match &self.origin {
            Origin::None => return (Image::text(key), None),
            Origin::Folder(folder, root) => (load(key, root), folder.join(key)),
            Origin::Index(index) => (of_index(index, key), index.path().join(key)),
        };
        match loaded {
            Ok(image) => {
                self.any.set(true);
                (image, None)
            }
            Err(problem) => {
                let message = format!("cannot show {}, nor any other image: {problem}", path.display());
                self.problem.replace(Some(message));
                (Image::text("?"), Some(problem))
            }
        }
    }

    /// Fails if no image could be shown, since the folder is another one then.
    pub(crate) fn check(self) -> Result<(), CliError> {
        match self.problem.into_inner() {
            Some(message) if !self.any.get() => Err(CliError::Usage(message)),
            _ => Ok(()),
        }
    }
}

fn load(key: &str, root: &ImageRoot) -> Result<Image, String> {
    let bytes = match root.image(key)? {
        ImageData::File(path) => fs::read(path).map_err(|error| error.to_string())?,
        ImageData::Bytes(bytes) => bytes,
        ImageData::Url(url) => return Err(format!("{url} is not in the folder")),
    };
    Image::encoded(thumbnail(&bytes)?).map_err(|error| error.to_string())
}

fn of_index(index: &Index, key: &str) -> Result<Image, String> {
    let row = index.row_of_key(key).ok_or("the index has no such image")?;
    let entry = index.entry(row).map_err(|error| error.to_string())?;
    Image::encoded(thumbnail_of(index, row, &entry)?).map_err(|error| error.to_string())
}

/// The thumbnail of the index, else one of the file, as a JPEG.
pub(crate) fn thumbnail_of(index: &Index, row: usize, entry: &Entry) -> Result<Vec<u8>, String> {
    let stored = index.thumbnail(row).map_err(|error| error.to_string())?;
    match (stored, &entry.file) {
        (Some(bytes), _) => Ok(bytes),
        (None, Some(file)) => {
            let limit = SourceOptions::default().max_image_bytes;
            thumbnail(&read_bounded(file, limit).map_err(|error| error.to_string())?)
        }
        (None, None) => Err("the index has no thumbnail of it".to_owned()),
    }
}

/// Makes a thumbnail of the contents of an image file.
pub(crate) fn thumbnail(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let image = decode_image(bytes, &DecodeLimits::default()).map_err(|error| error.to_string())?;
    encode_thumbnail(&image, SIDE).map_err(|error| error.to_string())
}
