//! Where pictures are, and what keeps names in a dataset from naming anything else.

use std::fs;
use std::io::ErrorKind;
use std::path::{self, Component, Path, PathBuf};

use super::{ImageData, SourceOptions};
use crate::DataError;

/// What the names of picture files end with, in lower case.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Whether what a name ends with says that it is a picture.
pub(super) fn is_picture(extension: &str) -> bool {
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Says so if a picture has more bytes than it may.
pub(super) fn check_size(bytes: u64, max: u64) -> Result<(), String> {
    if bytes <= max {
        return Ok(());
    }
    Err(format!("the picture has {bytes} bytes, expected at most {max}"))
}

/// A folder of pictures that names in a dataset cannot leave.
///
/// # Examples
/// ```
/// use sail_data::source::{ImageData, ImageRoot, SourceOptions};
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("cat.png"), b"the bytes of a picture")?;
/// let root = ImageRoot::new(folder.path(), &SourceOptions::default())?;
/// assert!(matches!(root.picture("cat.png"), Ok(ImageData::File(_))));
/// assert_eq!(root.picture("dog.png"), Err("there is no file `dog.png`".to_owned()));
/// assert!(root.picture("../cat.png").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ImageRoot {
    /// Absolute, so that absolute paths in a table can be compared with it.
    folder: PathBuf,
    /// Without links, so that links can be compared with it.
    real: PathBuf,
    follow_links: bool,
    max_bytes: u64,
}

impl ImageRoot {
    /// A folder, with the limits of the options on its pictures.
    ///
    /// # Errors
    /// [`DataError::Io`] for a folder that is not there.
    pub fn new(folder: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        // A bare file name has the empty path as its parent.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Ok(Self {
            folder: path::absolute(folder).map_err(DataError::io(folder))?,
            real: fs::canonicalize(folder).map_err(DataError::io(folder))?,
            follow_links: options.follow_links,
            max_bytes: options.max_image_bytes,
        })
    }

    /// The file of this name, relative to the folder.
    ///
    /// # Errors
    /// Why it is not used, in words: it is not there, no regular file, too large, or elsewhere.
    pub fn picture(&self, name: &str) -> Result<ImageData, String> {
        let path = self.folder.join(self.relative(name)?);
        let reason = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => format!("there is no file `{name}`"),
            _ => format!("cannot access `{name}`: {error}"),
        };
        let metadata = fs::metadata(&path).map_err(reason)?;
        if !metadata.is_file() {
            return Err(format!("`{name}` is a folder or a device, expected a regular file"));
        }
        check_size(metadata.len(), self.max_bytes)?;
        if !self.follow_links && !fs::canonicalize(&path).map_err(reason)?.starts_with(&self.real) {
            return Err(format!("`{name}` is a link that leads out of the folder of pictures"));
        }
        Ok(ImageData::File(path))
    }

    fn relative<'a>(&self, name: &'a str) -> Result<&'a Path, String> {
        let path = Path::new(name);
        let inside = match path.has_root() {
            true => path.strip_prefix(&self.folder).map_err(|_| {
                format!("the path `{name}` is absolute and not in the folder of pictures: set the image root")
            })?,
            false => path,
        };
        if inside.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(format!("the path `{name}` could lead out of the folder of pictures"));
        }
        if inside.as_os_str().is_empty() {
            return Err("the path is empty".to_owned());
        }
        Ok(inside)
    }
}
