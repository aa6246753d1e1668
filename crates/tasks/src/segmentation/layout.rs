//! How published segmentation sets lie on disk.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sail_core::{ConfigError, Named, parse_named};
use sail_data::source::is_image_name;
use sail_eval::IGNORED;

/// Where Pascal VOC may lie in its folder.
const VOC_FOLDERS: [&str; 2] = ["VOCdevkit/VOC2012", "VOC2012"];

/// The layout of a segmentation set, as it is published.
///
/// | name | images | masks | labels |
/// |---|---|---|---|
/// | `ade20k` | `images/validation` | `annotations/validation` | 0 is ignored, k is class k - 1 |
/// | `coco-stuff` | `images/val2017` (or `val2017`) | `annotations/val2017`, `*_labelTrainIds.png` | the classes |
/// | `voc20` | `JPEGImages`, those in `ImageSets/Segmentation/val.txt` | `SegmentationClass` | the background, 0, is ignored, k is class k - 1 |
/// | `voc21` | the same | the same | the classes, 0 being the background |
/// | `folder` | `images` | `masks` | the classes |
///
/// ADE20K is the folder `ADEChallengeData2016`; Pascal VOC is the folder that has `VOCdevkit/VOC2012`, or that one. A
/// image and its mask have the same name but for the extension. 255 is ignored everywhere.
///
/// A file `classes.txt` in the folder names the classes, one a line, synonyms with commas between. A `folder` needs it;
/// the others have the names of their publishers without it (of COCO-Stuff as words: `wall-brick` is `brick wall`).
///
/// # Examples
/// ```
/// use sail_tasks::SegmentationLayout;
/// let layout: SegmentationLayout = "voc21".parse()?;
/// assert_eq!(layout.to_string(), "voc21");
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentationLayout {
    /// ADE20K's 150 classes (Zhou et al., 2017).
    Ade20k,
    /// COCO-Stuff's 171 classes (Caesar et al., 2018), as mmsegmentation converts the masks.
    CocoStuff,
    /// Pascal VOC 2012 without its background: 20 classes.
    Voc20,
    /// Pascal VOC 2012 with its background: 21 classes.
    Voc21,
    /// Folders `images` and `masks`, and `classes.txt`.
    Folder,
}

impl Named for SegmentationLayout {
    const ALL: &'static [Self] = &[Self::Ade20k, Self::CocoStuff, Self::Voc20, Self::Voc21, Self::Folder];

    fn name(self) -> &'static str {
        match self {
            Self::Ade20k => "ade20k",
            Self::CocoStuff => "coco-stuff",
            Self::Voc20 => "voc20",
            Self::Voc21 => "voc21",
            Self::Folder => "folder",
        }
    }
}

impl SegmentationLayout {
    /// Whether a file of a repository, named relative to it, belongs to the set.
    pub(crate) fn has(self, name: &str) -> bool {
        let inner = VOC_FOLDERS.iter().find_map(|folder| name.strip_prefix(folder)?.strip_prefix('/'));
        let Places { images, masks, list, .. } = self.places(Path::new(""));
        let is_in = |name: &str, folder: &str| {
            name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')) && is_image_name(name)
        };
        let belongs = |name: &str| {
            Some(name) == list || images.iter().chain([&masks]).any(|folder| is_in(name, folder))
        };
        name == "classes.txt" || belongs(name) || list.is_some() && inner.is_some_and(belongs)
    }

    /// Where images and masks lie, in words.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Ade20k => "images/validation and annotations/validation",
            Self::CocoStuff => "images/val2017 and annotations/val2017",
            Self::Voc20 | Self::Voc21 => "JPEGImages, SegmentationClass and ImageSets/Segmentation/val.txt",
            Self::Folder => "images, masks and classes.txt",
        }
    }

    /// The folder that the others are relative to, the folders of the images that may be, that of the masks, and the
    /// list of names.
    pub(super) fn places(self, root: &Path) -> Places {
        let (base, images, masks, list): (_, &[_], _, _) = match self {
            Self::Ade20k => (root.to_owned(), &["images/validation"], "annotations/validation", None),
            Self::CocoStuff => (root.to_owned(), &["images/val2017", "val2017"], "annotations/val2017", None),
            Self::Voc20 | Self::Voc21 => {
                let inner = VOC_FOLDERS.map(|inner| root.join(inner));
                let base = inner.into_iter().find(|folder| folder.is_dir()).unwrap_or(root.to_owned());
                (base, &["JPEGImages"], "SegmentationClass", Some("ImageSets/Segmentation/val.txt"))
            }
            Self::Folder => (root.to_owned(), &["images"], "masks", None),
        };
        Places { base, images, masks, list }
    }

    /// What the name of a mask has after the image's.
    pub(super) fn mask_suffix(self) -> &'static str {
        if self == Self::CocoStuff { "_labelTrainIds" } else { "" }
    }

    /// The class of a label as it is stored.
    pub(super) fn class(self, label: u8) -> u8 {
        match self {
            Self::Ade20k | Self::Voc20 if label != IGNORED => label.checked_sub(1).unwrap_or(IGNORED),
            _ => label,
        }
    }

    /// The publisher's class names, in the format of `classes.txt`.
    pub(super) fn class_names(self) -> Option<String> {
        let voc = include_str!("classes/voc20.txt");
        Some(match self {
            Self::Ade20k => include_str!("classes/ade20k.txt").to_owned(),
            Self::CocoStuff => include_str!("classes/coco-stuff.txt").to_owned(),
            Self::Voc20 => voc.to_owned(),
            Self::Voc21 => format!("background\n{voc}"),
            Self::Folder => return None,
        })
    }
}

/// Where the parts of a set lie.
pub(super) struct Places {
    pub(super) base: PathBuf,
    pub(super) images: &'static [&'static str],
    pub(super) masks: &'static str,
    pub(super) list: Option<&'static str>,
}

impl fmt::Display for SegmentationLayout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for SegmentationLayout {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        parse_named("layout", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sets_have_as_many_names_as_classes() {
        let lines = |layout: SegmentationLayout| layout.class_names().map(|names| names.lines().count());
        let found: Vec<_> = SegmentationLayout::ALL.iter().copied().map(lines).collect();
        assert_eq!(found, [Some(150), Some(171), Some(20), Some(21), None]);
    }
}
