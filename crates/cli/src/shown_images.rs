//! The images of a folder in a report.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};

use sail_vl::data::source::{ImageData, ImageRoot, SourceOptions};
use sail_vl::data::{DecodeLimits, decode_image};
use sail_vl::report::Image;
use sail_vl::tasks::encode_thumbnail;

use crate::error::CliError;
use crate::galleries::SIDE;

/// The folder of the images that a report shows. The keys of the images are file names in it. Without a folder, the keys
/// take the place of the images.
pub(crate) struct ShownImages {
    root: Option<(PathBuf, ImageRoot)>,
    any: Cell<bool>,
    problem: RefCell<Option<String>>,
}

impl ShownImages {
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, CliError> {
        let options = SourceOptions { follow_links: true, ..SourceOptions::default() };
        let root =
            folder.map(|folder| Ok::<_, CliError>((folder.to_owned(), ImageRoot::new(folder, &options)?)));
        Ok(Self { root: root.transpose()?, any: Cell::new(false), problem: RefCell::new(None) })
    }

    /// Returns an image, or what is shown in its place and the reason.
    pub(crate) fn show(&self, key: &str) -> (Image, Option<String>) {
        let Some((folder, root)) = &self.root else {
            return (Image::text(key), None);
        };
        match load(key, root) {
            Ok(image) => {
                self.any.set(true);
                (image, None)
            }
            Err(problem) => {
                let path = folder.join(key);
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

/// Makes a thumbnail of the contents of an image file.
pub(crate) fn thumbnail(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let image = decode_image(bytes, &DecodeLimits::default()).map_err(|error| error.to_string())?;
    encode_thumbnail(&image, SIDE).map_err(|error| error.to_string())
}
