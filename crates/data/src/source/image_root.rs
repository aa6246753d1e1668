//! The folder of images, which file names in a dataset cannot leave.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{self, Component, Path, PathBuf};

use super::options::SourceOptions;
use super::record::ImageData;
use crate::DataError;

/// Extensions of image files: those that are decoded, and those that are skipped with a reason, since they are images too.
const EXTENSIONS: [&str; 28] = [
    "jpg", "jpeg", "jpe", "jif", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "pbm",
    "pgm", "ppm", "pnm", "pam", "ico", "tga", "avif", "heic", "heif", "jp2", "j2k", "jpx", "jxl", "jls",
];

/// Returns whether a file name has the extension of an image.
///
/// # Examples
/// ```
/// use sail_data::source::is_image_name;
/// assert!(is_image_name("val2017/1.JPG") && !is_image_name("classes.txt") && !is_image_name("jpg"));
/// ```
pub fn is_image_name(name: &str) -> bool {
    Path::new(name).extension().and_then(OsStr::to_str).is_some_and(is_image_extension)
}

/// Returns whether an extension is that of an image.
pub(super) fn is_image_extension(extension: &str) -> bool {
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Returns whether the name of an image is an address.
fn is_url(name: &str) -> bool {
    let scheme = name.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
}

/// Checks the length of an image.
pub(super) fn check_size(bytes: u64, max: u64) -> Result<(), String> {
    if bytes <= max {
        return Ok(());
    }
    Err(format!("the image has {bytes} bytes, expected at most {max}"))
}

/// A folder of images that file names in a dataset cannot leave.
///
/// URLs are images too, which are fetched later. The files of a snapshot in the hub cache are links to blobs of the repository, which are allowed.
///
/// # Examples
/// ```
/// use sail_data::source::{ImageData, ImageRoot, SourceOptions};
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("cat.png"), b"the bytes of an image")?;
/// let root = ImageRoot::new(folder.path(), &SourceOptions::default())?;
/// assert!(matches!(root.image("cat.png"), Ok(ImageData::File(_))));
/// assert_eq!(root.image("dog.png"), Err("the file `dog.png` is missing".to_owned()));
/// assert!(root.image("../cat.png").is_err());
/// assert!(matches!(root.image("https://example.org/cat.png"), Ok(ImageData::Url(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ImageRoot {
    /// Absolute, for comparison with absolute paths in a table.
    folder: PathBuf,
    /// Canonical, for comparison with the targets of links.
    real: PathBuf,
    /// The [`blobs`] of the hub cache, where files may also be; its other links are never followed.
    blobs: Option<PathBuf>,
    follow_links: bool,
    max_bytes: u64,
}

impl ImageRoot {
    /// Opens a folder, with the limits of the options on its images.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder does not exist.
    pub fn new(folder: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        // The parent of a bare file name is the empty path.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let real = fs::canonicalize(folder).map_err(DataError::io(folder))?;
        let blobs = blobs(&real);
        Ok(Self {
            folder: path::absolute(folder).map_err(DataError::io(folder))?,
            follow_links: options.follow_links && blobs.is_none(),
            blobs,
            real,
            max_bytes: options.max_image_bytes,
        })
    }

    /// Returns the file with this path relative to the folder, or the URL as it is.
    ///
    /// # Errors
    /// The reason why it is unusable: it is missing, not a regular file, too large, or outside the folder.
    pub fn image(&self, name: &str) -> Result<ImageData, String> {
        if is_url(name) {
            return Ok(ImageData::Url(name.to_owned()));
        }
        let (path, bytes) = self.file(name)?;
        check_size(bytes, self.max_bytes)?;
        Ok(ImageData::File(path))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether links may lead out of the folder.
    pub(super) fn follows_links(&self) -> bool {
        self.follow_links
    }

    /// Returns a regular file of the folder and its length, or the reason why it is unusable.
    pub(super) fn file(&self, name: &str) -> Result<(PathBuf, u64), String> {
        let path = self.folder.join(self.relative(name)?);
        let reason = |error: std::io::Error| match (error.kind(), fs::read_link(&path)) {
            (ErrorKind::NotFound, Ok(target)) => format!(
                "the file `{name}` is missing: it is a link to `{}`, which does not exist here (`git annex get` or \
                 `dvc pull` fetch such files)",
                target.display()
            ),
            (ErrorKind::NotFound, Err(_)) => format!("the file `{name}` is missing"),
            _ => format!("cannot access `{name}`: {error}"),
        };
        let metadata = fs::metadata(&path).map_err(reason)?;
        if !metadata.is_file() {
            return Err(format!("`{name}` is a folder or a device, expected a regular file"));
        }
        let is_inside = |path: PathBuf| {
            path.starts_with(&self.real) || self.blobs.as_ref().is_some_and(|blobs| path.starts_with(blobs))
        };
        if !self.follow_links && !is_inside(fs::canonicalize(&path).map_err(reason)?) {
            return Err(format!(
                "`{name}` is a link to a file outside the folder of images, and links are not followed"
            ));
        }
        Ok((path, metadata.len()))
    }

    fn relative<'a>(&self, name: &'a str) -> Result<&'a Path, String> {
        let path = Path::new(name);
        let inside = match path.has_root() {
            true => path.strip_prefix(&self.folder).map_err(|_| {
                format!("the path `{name}` is absolute and outside the folder of images: set the image root")
            })?,
            false => path,
        };
        if inside.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(format!("the path `{name}` may not leave the folder of images"));
        }
        if inside.as_os_str().is_empty() {
            return Err("the path is empty".to_owned());
        }
        Ok(inside)
    }
}

/// Returns the folder of blobs that the files in `REPOSITORY/snapshots/COMMIT` of the hub cache link to.
fn blobs(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.ancestors().skip(1).find(|folder| folder.ends_with("snapshots"))?;
    let repository = snapshots.parent()?;
    let name = repository.file_name()?.to_str()?;
    (name.starts_with("datasets--") || name.starts_with("models--")).then(|| repository.join("blobs"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_the_hub_cache_may_refer_to_its_blobs_only() {
        let cache = tempfile::tempdir().unwrap();
        for (repository, is_used) in [("datasets--org--name", true), ("other", false)] {
            let repository = cache.path().join(repository);
            let folder = repository.join("snapshots/0123/images");
            fs::create_dir_all(&folder).unwrap();
            fs::create_dir_all(repository.join("blobs")).unwrap();
            fs::write(repository.join("blobs/ab"), "an image").unwrap();
            fs::write(repository.join("secret"), "not a blob").unwrap();
            symlink("../../../blobs/ab", folder.join("a.png")).unwrap();
            symlink("../../../secret", folder.join("b.png")).unwrap();
            let root = ImageRoot::new(&folder, &SourceOptions::default()).unwrap();
            assert_eq!(root.image("a.png").is_ok(), is_used, "{repository:?}");
            let error = root.image("b.png").unwrap_err();
            assert!(error.contains("outside the folder"), "{error}");
            // Data of the hub is not trusted, whatever the option.
            let trusting = SourceOptions { follow_links: true, ..SourceOptions::default() };
            let trusting = ImageRoot::new(&folder, &trusting).unwrap();
            assert_eq!(trusting.image("b.png").is_err(), is_used, "{repository:?}");
        }
    }
}
