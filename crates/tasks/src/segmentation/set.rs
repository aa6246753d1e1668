//! Sets of images and masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sail_data::source::{ImageData, SourceOptions, open_images};
use sail_eval::IGNORED;

use super::error::SegmentationSetError;
use super::file::read_file;
use super::layout::{LayoutPaths, SegmentationLayout};
use crate::class_pairing::{MergedClasses, merge_same_names};
use crate::files::decode_text;
use crate::inputs::passed_over_note;
use crate::labelled::merge_note;

/// Maximum length of a list of names.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Images and their masks, sorted by name.
///
/// Opening lists files, and reads `classes.txt`, the list of names, and masks until one has a label. An image without a
/// mask, or a mask without an image, is skipped and listed in [`unused`](Self::unused). Classes of one name are merged.
///
/// Masks in which only 0 and 255 occur are binary if there are two classes: 255 is class 1 then, and not ignored.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
/// use sail_data::source::SourceOptions;
/// use sail_tasks::{SegmentationLayout, SegmentationSet};
///
/// let options = SourceOptions::default();
/// let set = SegmentationSet::open(Path::new("ADEChallengeData2016"), SegmentationLayout::Ade20k, &options)?;
/// let sample = set.load(0)?;
/// println!("{} {:?} {}", sample.name, sample.truth.size(), set.classes()[0][0]);
/// # Ok::<(), sail_tasks::SegmentationSetError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SegmentationSet {
    pub(super) layout: SegmentationLayout,
    classes: Vec<Vec<String>>,
    /// The class of every class of the layout, of which some may have one name.
    pub(super) class_of_label: Vec<u16>,
    /// Whether 255 is class 1.
    pub(super) binary: bool,
    pub(super) items: Vec<Item>,
    unused: Vec<UnusedImage>,
    notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) image: PathBuf,
    pub(super) mask: PathBuf,
}

/// A skipped image or mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedImage {
    /// Name without extension.
    pub name: String,
    /// The reason.
    pub reason: String,
}

impl SegmentationSet {
    /// Opens a set in a folder of the given layout. Of the options, the limits and
    /// [`follow_links`](SourceOptions::follow_links) apply.
    ///
    /// # Errors
    /// [`SegmentationSetError`] if folders or lists of the layout are missing or cannot be read, class names are invalid, two
    /// files have the same name, no image has a mask, or the masks are binary and the classes are not two.
    pub fn open(
        root: &Path,
        layout: SegmentationLayout,
        options: &SourceOptions,
    ) -> Result<Self, SegmentationSetError> {
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
        let mut notes = Vec::new();
        let mut images = files(&images, "", options, &mut notes)?;
        let mut masks = files(&folder, layout.mask_suffix(), options, &mut notes)?;
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
        let MergedClasses { classes, class, repeated } = merge_same_names(classes, |names| names.join(", "));
        let class_of_label = class.into_iter().map(|class| class as u16).collect();
        if !repeated.is_empty() {
            notes.push(merge_note(&repeated));
        }
        let mut set = Self { layout, classes, class_of_label, binary: false, items, unused, notes };
        if set.is_binary() {
            if layout != SegmentationLayout::Folder || set.class_of_label.len() != 2 {
                return Err(SegmentationSetError::Binary { folder });
            }
            set.binary = true;
            let class = &set.classes[usize::from(set.class_of_label[1])][0];
            set.notes.push(format!("the masks are binary: 255 is `{class}` and not ignored"));
        }
        Ok(set)
    }

    /// Returns the names of every class.
    pub fn classes(&self) -> &[Vec<String>] {
        &self.classes
    }

    /// Returns what is worth saying about the set: merged classes, binary masks.
    pub fn notes(&self) -> &[String] {
        &self.notes
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
}

/// Lists the images below a folder by name, without the required suffix and the extension.
fn files(
    folder: &Path,
    suffix: &str,
    options: &SourceOptions,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Result<PathBuf, String>>, SegmentationSetError> {
    let source = open_images(folder, options)?;
    let passed_over = passed_over_note(source.as_ref())?;
    notes.extend(passed_over.map(|passed_over| format!("{passed_over} in {}", folder.display())));
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
    if !(2..=usize::from(IGNORED)).contains(&classes.len()) {
        return Err(SegmentationSetError::Classes { path, found: classes.len() });
    }
    Ok(Some(classes))
}

/// Reads a small text file.
fn text(path: &Path) -> Result<String, SegmentationSetError> {
    let bytes = read_file(path, MAX_TEXT_BYTES)?;
    decode_text(&bytes).map_err(|(byte, reason)| SegmentationSetError::Text {
        path: path.to_owned(),
        byte,
        reason,
    })
}
