//! Sets of images and masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sail_core::RgbImage;
use sail_data::source::{ImageData, SourceOptions, open_images};
use sail_data::{DecodeError, DecodeLimits, decode_image};
use sail_eval::{IGNORED, LabelMap, SegmentationError};

use super::error::SegmentationSetError;
use super::file::read_file;
use super::layout::{LayoutPaths, SegmentationLayout};
use super::mask::read_mask;

/// Maximum length of a list of names.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Images and their masks, sorted by name.
///
/// Opening lists files and reads only `classes.txt` and the list of names; links to files outside a folder are not followed.
/// An image without a mask, or a mask without an image, is skipped and listed in [`unused`](Self::unused).
///
/// # Examples
/// ```no_run
/// use std::path::Path;
/// use sail_tasks::{SegmentationLayout, SegmentationSet};
///
/// let set = SegmentationSet::open(Path::new("ADEChallengeData2016"), SegmentationLayout::Ade20k)?;
/// let sample = set.load(0)?;
/// println!("{} {:?} {}", sample.name, sample.truth.size(), set.classes()[0][0]);
/// # Ok::<(), sail_tasks::SegmentationSetError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SegmentationSet {
    layout: SegmentationLayout,
    classes: Vec<Vec<String>>,
    items: Vec<Item>,
    unused: Vec<UnusedImage>,
}

#[derive(Debug, Clone)]
struct Item {
    name: String,
    image: PathBuf,
    mask: PathBuf,
}

/// A skipped image or mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedImage {
    /// Name without extension.
    pub name: String,
    /// The reason.
    pub reason: String,
}

/// An image and its mask.
#[derive(Debug, Clone)]
pub struct SegmentationSample {
    /// Name of the image without extension.
    pub name: String,
    /// The image.
    pub image: RgbImage,
    /// The true class of every pixel.
    pub truth: LabelMap,
}

impl SegmentationSet {
    /// Opens a set in a folder of the given layout.
    ///
    /// # Errors
    /// [`SegmentationSetError`] if folders or lists of the layout are missing or cannot be read, class names are invalid, two
    /// files have the same name, or no image has a mask.
    pub fn open(root: &Path, layout: SegmentationLayout) -> Result<Self, SegmentationSetError> {
        let missing = |wanted| SegmentationSetError::Missing { root: root.to_owned(), layout, wanted };
        let LayoutPaths { base, images, masks, list } = layout.paths(root);
        let wanted = images[0];
        let images = images.iter().map(|folder| base.join(folder)).find(|folder| folder.is_dir());
        let images = images.ok_or(missing(wanted))?;
        let folder = base.join(masks);
        if !folder.is_dir() {
            return Err(missing(masks));
        }
        let classes = classes(root, layout)?.ok_or(missing("classes.txt"))?;
        let mut images = files(&images, "")?;
        let mut masks = files(&folder, layout.mask_suffix())?;
        let names = match list {
            None => images.keys().chain(masks.keys()).cloned().collect(),
            Some(list) if !base.join(list).is_file() => return Err(missing(list)),
            Some(list) => listed(&base.join(list))?,
        };
        let (mut items, mut unused) = (Vec::new(), Vec::new());
        for name in BTreeMap::from_iter(names.into_iter().map(|name| (name, ()))).into_keys() {
            let found = |what, file: Option<Result<PathBuf, String>>| {
                file.unwrap_or_else(|| Err(format!("the {what} of this name is missing")))
            };
            let (image, mask) = (found("image", images.remove(&name)), found("mask", masks.remove(&name)));
            match (image, mask) {
                (Ok(image), Ok(mask)) => items.push(Item { name, image, mask }),
                (Err(reason), _) | (_, Err(reason)) => unused.push(UnusedImage { name, reason }),
            }
        }
        if items.is_empty() {
            return Err(SegmentationSetError::Empty { root: root.to_owned(), layout, unused: unused.len() });
        }
        Ok(Self { layout, classes, items, unused })
    }

    /// Returns the names of every class.
    pub fn classes(&self) -> &[Vec<String>] {
        &self.classes
    }

    /// Returns the skipped images and masks.
    pub fn unused(&self) -> &[UnusedImage] {
        &self.unused
    }

    /// Returns the number of images with a mask.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns `false`: [`open`](Self::open) rejects an empty set.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Reads an image and its mask.
    ///
    /// # Errors
    /// [`SegmentationSetError`] for files that cannot be read or decoded, a mask of another size than its image, and a
    /// label that is no class. An index beyond the end is [`SegmentationSetError::Io`].
    pub fn load(&self, index: usize) -> Result<SegmentationSample, SegmentationSetError> {
        let Some(Item { name, image: path, mask }) = self.items.get(index) else {
            let source =
                std::io::Error::other(format!("the index is out of range for {} images", self.items.len()));
            return Err(SegmentationSetError::Io { path: format!("image {index}").into(), source });
        };
        let undecodable = |source: DecodeError| SegmentationSetError::Image { path: path.clone(), source };
        let image =
            decode_image(&read_file(path, DecodeLimits::default().max_bytes)?, &DecodeLimits::default())
                .map_err(undecodable)?;
        let stored = read_mask(mask)?;
        let fit = |source| SegmentationSetError::Fit { path: mask.clone(), source };
        let expected = [image.height() as usize, image.width() as usize];
        if stored.size() != expected {
            return Err(fit(SegmentationError::Size { found: stored.size(), expected }));
        }
        let labels = stored.labels().iter().map(|&label| self.layout.class(label)).collect();
        let truth = LabelMap::new(stored.size(), labels).map_err(fit)?;
        truth.check(self.classes.len(), true, "mask").map_err(fit)?;
        Ok(SegmentationSample { name: name.clone(), image, truth })
    }
}

/// Lists the images below a folder by name, without the required suffix and the extension.
fn files(
    folder: &Path,
    suffix: &str,
) -> Result<BTreeMap<String, Result<PathBuf, String>>, SegmentationSetError> {
    let source = open_images(folder, &SourceOptions::default())?;
    let mut files = BTreeMap::new();
    for record in source.records(0..source.count()?)? {
        let record = record?;
        let stem = record.key.rsplit_once('.').map_or(record.key.as_str(), |(stem, _)| stem);
        let Some(name) = stem.strip_suffix(suffix) else { continue };
        let file = record.value.and_then(|data| match data {
            ImageData::File(path) => Ok(path),
            ImageData::Bytes(_) | ImageData::Url(_) => Err("the image is not a file".to_owned()),
        });
        if files.insert(name.to_owned(), file).is_some() {
            return Err(SegmentationSetError::Twice { folder: folder.to_owned(), name: name.to_owned() });
        }
    }
    Ok(files)
}

/// Reads a list of names, one per line.
fn listed(path: &Path) -> Result<Vec<String>, SegmentationSetError> {
    let text = text(path)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, name)| !name.is_empty());
    let names = lines.map(|(line, name)| {
        // The first word: lists of single classes have a label after it.
        match name.split_whitespace().next() {
            Some(name) if !name.contains(['/', '\\']) && !name.starts_with('.') => Ok(name.to_owned()),
            _ => {
                let (path, name) = (path.to_owned(), name.to_owned());
                Err(SegmentationSetError::Name { path, line: line + 1, name })
            }
        }
    });
    names.collect()
}

/// Returns the class names of the folder, or the published ones.
fn classes(
    root: &Path,
    layout: SegmentationLayout,
) -> Result<Option<Vec<Vec<String>>>, SegmentationSetError> {
    let path = root.join("classes.txt");
    let Some(text) = (if path.is_file() { Some(text(&path)?) } else { layout.class_names() }) else {
        return Ok(None);
    };
    let class = |(line, names): (usize, &str)| {
        let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().any(String::is_empty) {
            true => Err(SegmentationSetError::ClassName { path: path.clone(), line: line + 1 }),
            false => Ok(names),
        }
    };
    let classes = text.trim_end().lines().enumerate().map(class).collect::<Result<Vec<_>, _>>()?;
    if !(1..=usize::from(IGNORED)).contains(&classes.len()) {
        return Err(SegmentationSetError::Classes { path, found: classes.len() });
    }
    Ok(Some(classes))
}

/// Reads a small text file.
fn text(path: &Path) -> Result<String, SegmentationSetError> {
    let bytes = read_file(path, MAX_TEXT_BYTES)?;
    String::from_utf8(bytes).map_err(|error| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        SegmentationSetError::Io { path: path.to_owned(), source }
    })
}
