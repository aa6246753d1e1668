//! Labelled images.

use std::collections::HashMap;
use std::path::PathBuf;

use sail_core::RgbImage;

use crate::answers::{Answer, image};
use crate::error::TaskError;
use crate::inputs::Images;
use crate::skips::Skips;
use crate::templates::Templates;

/// The file of class names in both layouts.
pub(crate) const CLASS_NAMES: &str = "classnames.txt";
/// The file of prompt templates in both layouts.
pub(crate) const TEMPLATES: &str = "zeroshot_classification_templates.txt";

/// Images with a class label each, the class names, and the prompt templates.
pub struct LabelledImages {
    pub(crate) images: Images,
    /// Class index of every image by key.
    pub(crate) labels: HashMap<String, usize>,
    pub(crate) classes: Vec<String>,
    /// Whether the classes are those of a list: otherwise a class without a usable image is none.
    pub(crate) listed: bool,
    pub(crate) templates: Templates,
    pub(crate) skipped: Skips,
    /// Number of classes that have the name of another.
    pub(crate) merged: usize,
    pub(crate) notes: Vec<String>,
    /// Folder of the images, for errors.
    pub(crate) path: PathBuf,
}

impl LabelledImages {
    /// Returns the class names by class index.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns what is worth saying about the classes: how folders were paired with names, folders without an image, merged
    /// classes.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Loads the image of an answer. Returns `None` if it no longer exists.
    ///
    /// # Errors
    /// [`TaskError::Images`] if the images cannot be read.
    pub fn image(&self, answer: &Answer) -> Result<Option<RgbImage>, TaskError> {
        image(&self.images, answer)
    }

    /// Returns the number of labelled images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns `false`: opening an empty data set is an error.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}
