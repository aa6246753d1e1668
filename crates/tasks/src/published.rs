//! The files of a published data set that a task reads.

use std::fmt;
use std::path::{Path, PathBuf};

use sail_data::source::is_image_name;

use crate::captions::KARPATHY;
use crate::labelled::{CLASS_NAMES, DATASET_TYPE, SHARDS, TEMPLATES};
use crate::segmentation::SegmentationLayout;
use crate::sugar_crepe::SUBSETS;

/// The files of a repository that a task reads, so that only these need to be downloaded.
///
/// # Examples
/// ```
/// use sail_tasks::TaskFiles;
/// let files = TaskFiles::Classification { split: "test" };
/// assert!(files.has("classnames.txt") && files.has("test/0.tar") && files.has("cat/1.jpg"));
/// assert!(!files.has("train/0.tar") && !files.has("script.py"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskFiles<'a> {
    /// [`WinogroundData`](crate::WinogroundData), in the repository or in its folder `data`.
    Winoground,
    /// [`MmvpData`](crate::MmvpData).
    Mmvp,
    /// The files of [`SugarCrepeData`](crate::SugarCrepeData), without the COCO images.
    SugarCrepe,
    /// The file of [`CaptionData`](crate::CaptionData), without the images.
    Captions,
    /// [`LabelledImages`](crate::LabelledImages) in either layout.
    Classification {
        /// The split to score.
        split: &'a str,
    },
    /// [`SegmentationSet`](crate::SegmentationSet).
    Segmentation(SegmentationLayout),
    /// All images.
    Images,
}

impl TaskFiles<'_> {
    /// Returns whether the task reads the file with this path relative to the repository, with `/`.
    pub fn has(&self, name: &str) -> bool {
        match *self {
            Self::Winoground => {
                let name = name.strip_prefix("data/").unwrap_or(name);
                matches!(name, "examples.jsonl" | "images.zip")
                    || name.starts_with("images/") && is_image_name(name)
            }
            Self::Mmvp => {
                name == "Questions.csv" || name.starts_with("MLLM_VLM Images/") && is_image_name(name)
            }
            Self::SugarCrepe => name.strip_suffix(".json").is_some_and(|subset| SUBSETS.contains(&subset)),
            Self::Captions => KARPATHY.contains(&name),
            Self::Classification { split } => {
                let in_split = name.strip_prefix(split).and_then(|name| name.strip_prefix('/'));
                [CLASS_NAMES, TEMPLATES, DATASET_TYPE].contains(&name)
                    || in_split.is_some_and(|name| name == SHARDS || name.ends_with(".tar"))
                    || name.contains('/') && is_image_name(name)
            }
            Self::Segmentation(layout) => layout.has(name),
            Self::Images => is_image_name(name),
        }
    }

    /// Returns the path that the task opens, in a folder with the files of the repository.
    pub fn root(&self, folder: &Path) -> PathBuf {
        let only = |names: &[&str]| {
            let mut found = names.iter().map(|name| folder.join(name)).filter(|path| path.exists());
            found.next().filter(|_| found.next().is_none())
        };
        let inside = match self {
            Self::Winoground => only(&["data/examples.jsonl", "examples.jsonl"])
                .and_then(|path| path.parent().map(Path::to_owned)),
            Self::Captions => only(&KARPATHY),
            _ => None,
        };
        inside.unwrap_or_else(|| folder.to_owned())
    }
}

impl fmt::Display for TaskFiles<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Winoground => out.write_str("examples.jsonl with images.zip or images"),
            Self::Mmvp => out.write_str("Questions.csv and `MLLM_VLM Images`"),
            Self::SugarCrepe => write!(out, "{}.json", SUBSETS.join(".json, ")),
            Self::Captions => write!(out, "{}", KARPATHY.join(" or ")),
            Self::Classification { split } => {
                write!(out, "{split}/{SHARDS} and its archives, or class folders")
            }
            Self::Segmentation(layout) => out.write_str(layout.described()),
            Self::Images => out.write_str("image files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_the_files_of_each_task() {
        let segmentation = TaskFiles::Segmentation;
        for (files, named) in [
            (TaskFiles::Winoground, &["data/examples.jsonl", "images.zip", "data/images/ex_0.png"][..]),
            (TaskFiles::Mmvp, &["Questions.csv", "MLLM_VLM Images/Orientation and Direction/1.jpg"]),
            (TaskFiles::SugarCrepe, &["swap_att.json", "add_obj.json"]),
            (TaskFiles::Captions, &["dataset_flickr30k.json"]),
            (
                TaskFiles::Classification { split: "test" },
                &["classnames.txt", "dataset_type.txt", "test/nshards.txt", "test/12.tar", "dog/1.JPEG"],
            ),
            (
                segmentation(SegmentationLayout::Ade20k),
                &["images/validation/1.jpg", "annotations/validation/1.png", "classes.txt"],
            ),
            (
                segmentation(SegmentationLayout::CocoStuff),
                &["val2017/1.jpg", "images/val2017/1.jpg", "annotations/val2017/1_labelTrainIds.png"],
            ),
            (
                segmentation(SegmentationLayout::Voc21),
                &[
                    "VOCdevkit/VOC2012/JPEGImages/1.jpg",
                    "ImageSets/Segmentation/val.txt",
                    "SegmentationClass/1.png",
                ],
            ),
            (segmentation(SegmentationLayout::Folder), &["images/a/1.png", "masks/1.png", "classes.txt"]),
            (TaskFiles::Images, &["val2014/1.jpg", "1.webp"]),
        ] {
            for name in named {
                assert!(files.has(name), "{files}: {name}");
            }
            for name in ["README.md", "script.py", "train/0.tar", "testing/0.tar", "annotations/train/1.txt"]
            {
                assert!(!files.has(name), "{files}: {name}");
            }
        }
    }

    #[test]
    fn root_is_the_folder_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(TaskFiles::Winoground.root(path), path);
        std::fs::create_dir(path.join("data")).unwrap();
        std::fs::write(path.join("data/examples.jsonl"), "").unwrap();
        assert_eq!(TaskFiles::Winoground.root(path), path.join("data"));
        std::fs::write(path.join("dataset_coco.json"), "").unwrap();
        assert_eq!(TaskFiles::Captions.root(path), path.join("dataset_coco.json"));
        std::fs::write(path.join("dataset_flickr30k.json"), "").unwrap();
        assert_eq!(TaskFiles::Captions.root(path), path, "ambiguous");
    }
}
