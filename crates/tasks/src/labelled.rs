//! Images with a class each.

use std::collections::HashMap;
use std::path::Path;

use sail_core::RgbImage;

use crate::answers::image;
use crate::inputs::Images;
use crate::{Answer, Skips, TaskError, Templates, image_folder, web_dataset};

/// Lines that name the classes, in both layouts.
pub(crate) const CLASS_NAMES: &str = "classnames.txt";
/// Prompt templates, in both layouts.
pub(crate) const TEMPLATES: &str = "zeroshot_classification_templates.txt";

/// Images with a class each, the names of the classes, and the templates that make prompts of them.
pub struct LabelledImages {
    pub(crate) images: Images,
    /// The class of every image by its key.
    pub(crate) labels: HashMap<String, usize>,
    pub(crate) classes: Vec<String>,
    pub(crate) templates: Templates,
    pub(crate) skipped: Skips,
    /// Where the images are, for errors.
    pub(crate) path: std::path::PathBuf,
}

impl LabelledImages {
    /// Opens either layout: a folder that has `SPLIT/nshards.txt` is CLIP-benchmark's, see
    /// [`web_dataset`](Self::web_dataset); any other is one of class folders, see [`image_folder`](Self::image_folder).
    ///
    /// # Errors
    /// Those of the two.
    pub fn open(root: &Path, split: &str, templates: Option<Templates>) -> Result<Self, TaskError> {
        match root.join(split).join(web_dataset::SHARDS).exists() {
            true => Self::web_dataset(root, split, templates),
            false => Self::image_folder(root, templates),
        }
    }

    /// A folder with a folder for each class, which holds the class's images, at any depth.
    ///
    /// Classes are numbered in the order of the bytes of their folders' names; folders whose names begin with a dot are
    /// none. `classnames.txt` may name them, a line each in that order; without it a class is called what its folder is,
    /// with spaces for underscores. Where no `templates` are given, those of `zeroshot_classification_templates.txt` in
    /// the folder count, and where there is none, the default ones.
    ///
    /// # Errors
    /// [`TaskError::Empty`] without a class, [`TaskError::ClassWithoutImages`], [`TaskError::ClassCount`] for another
    /// number of names than of folders, [`TaskError::Images`] for a folder that cannot be read, and those of
    /// [`Templates::open`].
    pub fn image_folder(root: &Path, templates: Option<Templates>) -> Result<Self, TaskError> {
        image_folder::open(root, templates)
    }

    /// A data set for zero-shot classification as CLIP-benchmark publishes them (`clip-benchmark/wds_...` on the hub).
    ///
    /// A folder with `classnames.txt`, `zeroshot_classification_templates.txt`, `SPLIT/nshards.txt` that holds a number
    /// N, and the archives `SPLIT/0.tar` to `SPLIT/(N - 1).tar`, whose members are `KEY.jpg` (or `png`, `webp`) and
    /// `KEY.cls`, the number of the class. The split is `test` as a rule. Given `templates` replace the file's.
    ///
    /// # Errors
    /// [`TaskError::DatasetType`] for a data set of another kind, [`TaskError::Label`] for a label that no class has,
    /// [`TaskError::Duplicate`] for a key with two labels, [`TaskError::Empty`] without a class or a label,
    /// [`TaskError::Images`] for archives that cannot be read, and those of [`Templates::open`].
    pub fn web_dataset(root: &Path, split: &str, templates: Option<Templates>) -> Result<Self, TaskError> {
        web_dataset::open(root, split, templates)
    }

    /// The names of the classes, in the order of their numbers.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The image of an answer; nothing where it is no longer there.
    ///
    /// # Errors
    /// [`TaskError::Images`] where the images cannot be read at all.
    pub fn image(&self, answer: &Answer) -> Result<Option<RgbImage>, TaskError> {
        image(&self.images, answer)
    }

    /// How many images have a label.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none, which opening refuses.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}
