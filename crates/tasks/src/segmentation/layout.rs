//! Layouts of published segmentation sets.

use std::path::{Path, PathBuf};

use sail_core::Named;
use sail_data::source::is_image_name;
use sail_eval::IGNORED;

/// Possible subfolders of Pascal VOC.
const VOC_FOLDERS: [&str; 2] = ["VOCdevkit/VOC2012", "VOC2012"];

/// The layout of a published segmentation set.
///
/// | name | images | masks | labels |
/// |---|---|---|---|
/// | `ade20k` | `images/validation` | `annotations/validation` | 0 is ignored, k is class k - 1 |
/// | `coco-stuff` | `images/val2017` (or `val2017`) | `annotations/val2017`, `*_labelTrainIds.png` | class indices |
/// | `voc20` | `JPEGImages`, those in `ImageSets/Segmentation/val.txt` | `SegmentationClass` | 0, the background, is ignored, k is class k - 1 |
/// | `voc21` | the same | the same | class indices, 0 is the background |
/// | `folder` | `images` | `masks` | class indices |
///
/// ADE20K is the folder `ADEChallengeData2016`; Pascal VOC is the folder with `VOCdevkit/VOC2012`, or that folder itself. An
/// image and its mask have the same name except for the extension. The label 255 of masks with up to 8 bits, and 65535 of
/// masks with 16 bits, is ignored in every layout.
///
/// The file `classes.txt` in the folder has the class names, one class per line, with comma-separated synonyms. It is
/// required for `folder`; the default of the other layouts are the published names (of COCO-Stuff as words: `wall-brick` is
/// `brick wall`).
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

impl SegmentationLayout {
    /// Returns whether a file belongs to the set, by its path relative to the repository.
    pub(crate) fn has(self, name: &str) -> bool {
        let inner = VOC_FOLDERS.iter().find_map(|folder| name.strip_prefix(folder)?.strip_prefix('/'));
        let LayoutPaths { images, masks, list, .. } = self.paths(Path::new(""));
        let is_in = |name: &str, folder: &str| {
            name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')) && is_image_name(name)
        };
        let belongs = |name: &str| {
            Some(name) == list || images.iter().chain([&masks]).any(|folder| is_in(name, folder))
        };
        name == "classes.txt" || belongs(name) || list.is_some() && inner.is_some_and(belongs)
    }

    /// Describes the paths of images and masks.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Ade20k => "images/validation and annotations/validation",
            Self::CocoStuff => "images/val2017 and annotations/val2017",
            Self::Voc20 | Self::Voc21 => "JPEGImages, SegmentationClass and ImageSets/Segmentation/val.txt",
            Self::Folder => "images, masks and classes.txt",
        }
    }

    /// Returns the paths of the parts of a set in a folder.
    pub(super) fn paths(self, root: &Path) -> LayoutPaths {
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
        LayoutPaths { base, images, masks, list }
    }

    /// Returns the suffix of mask names after the name of the image.
    pub(super) fn mask_suffix(self) -> &'static str {
        if self == Self::CocoStuff { "_labelTrainIds" } else { "" }
    }

    /// Returns the class index of a stored label.
    pub(super) fn class(self, label: u16) -> u16 {
        match self {
            Self::Ade20k | Self::Voc20 if label != IGNORED => label.checked_sub(1).unwrap_or(IGNORED),
            _ => label,
        }
    }

    /// Returns the published class names in the format of `classes.txt`.
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

/// The paths of the parts of a set: the base folder, and relative to it alternative folders of images, the folder of masks
/// and a list of image names.
pub(super) struct LayoutPaths {
    pub(super) base: PathBuf,
    pub(super) images: &'static [&'static str],
    pub(super) masks: &'static str,
    pub(super) list: Option<&'static str>,
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

sail_core::display_and_parse_by_name!(SegmentationLayout, "layout");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sets_have_all_class_names() {
        let lines = |layout: SegmentationLayout| layout.class_names().map(|names| names.lines().count());
        let counts: Vec<_> = SegmentationLayout::ALL.iter().copied().map(lines).collect();
        assert_eq!(counts, [Some(150), Some(171), Some(20), Some(21), None]);
    }
}
