//! A set of images and masks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sail_core::RgbImage;
use sail_data::source::{ImageData, SourceOptions, open_images};
use sail_data::{DecodeError, DecodeLimits, decode_image};
use sail_eval::{LabelMap, SegmentationError};

use super::layout::Places;
use super::{SegmentationLayout, SegmentationSetError, read_mask};

/// Images and their masks, in the order of their names.
///
/// Opening lists files and reads none of them but `classes.txt` and the list of names; links that lead out of a folder
/// are not followed. An image without a mask or a mask without an image is left out and counted in
/// [`unused`](Self::unused).
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

/// An image or a mask that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedImage {
    /// Its name, without the extension.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// An image and the class of each of its pixels.
#[derive(Debug, Clone)]
pub struct SegmentationSample {
    /// The name of the image, without its extension.
    pub name: String,
    /// The image.
    pub image: RgbImage,
    /// Its classes, of the same size.
    pub truth: LabelMap,
}

impl SegmentationSet {
    /// Opens a set in a folder of the given layout.
    ///
    /// # Errors
    /// [`SegmentationSetError`] where the layout's folders or lists are not there or cannot be read, class names are
    /// wrong, two files share a name, or no image has a mask.
    pub fn open(root: &Path, layout: SegmentationLayout) -> Result<Self, SegmentationSetError> {
        let missing = |wanted| SegmentationSetError::Missing { root: root.to_owned(), layout, wanted };
        let Places { base, images, masks, list } = layout.places(root);
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
                file.unwrap_or_else(|| Err(format!("there is no {what} of this name")))
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

    /// The classes, each with its names.
    pub fn classes(&self) -> &[Vec<String>] {
        &self.classes
    }

    /// Images and masks that are left out.
    pub fn unused(&self) -> &[UnusedImage] {
        &self.unused
    }

    /// How many images have a mask.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Never: a set without images is not opened.
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
            let source = std::io::Error::other(format!("there are {} images", self.items.len()));
            return Err(SegmentationSetError::Io { path: format!("image {index}").into(), source });
        };
        let undecodable = |source: DecodeError| SegmentationSetError::Image { path: path.clone(), source };
        let image = decode_image(&read(path)?, &DecodeLimits::default()).map_err(undecodable)?;
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

/// The bytes of a file of a size that an image may have.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SegmentationSetError> {
    let io = |source| SegmentationSetError::Io { path: path.to_owned(), source };
    let (found, limit) = (fs::metadata(path).map_err(io)?.len(), DecodeLimits::default().max_bytes);
    if found > limit {
        let source = DecodeError::TooManyBytes { found, limit };
        return Err(SegmentationSetError::Image { path: path.to_owned(), source });
    }
    fs::read(path).map_err(io)
}

/// The images below a folder by their names, without the suffix that they must have and the extension.
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
            ImageData::Bytes(_) => Err("it is not a file of its own".to_owned()),
        });
        if files.insert(name.to_owned(), file).is_some() {
            return Err(SegmentationSetError::Twice { folder: folder.to_owned(), name: name.to_owned() });
        }
    }
    Ok(files)
}

/// The names in a list, one a line.
fn listed(path: &Path) -> Result<Vec<String>, SegmentationSetError> {
    let text = text(path)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, name)| !name.is_empty());
    let names = lines.map(|(line, name)| {
        // The first word; the lists of single classes have a sign after it.
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

/// The names of the classes: those of the folder, else those that the layout is published with.
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
    if !(1..=255).contains(&classes.len()) {
        return Err(SegmentationSetError::Classes { path, found: classes.len() });
    }
    Ok(Some(classes))
}

/// A small text file.
fn text(path: &Path) -> Result<String, SegmentationSetError> {
    let io = |source| SegmentationSetError::Io { path: path.to_owned(), source };
    let (found, limit) = (fs::metadata(path).map_err(io)?.len(), 16 << 20);
    if found > limit {
        return Err(io(std::io::Error::other(format!("it has {found} bytes, expected at most {limit}"))));
    }
    fs::read_to_string(path).map_err(io)
}
