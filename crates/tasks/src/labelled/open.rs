//! Opening labelled images in either layout.

use std::path::Path;

use super::labelled_images::LabelledImages;
use super::web_dataset::SHARDS;
use crate::error::TaskError;
use crate::templates::Templates;

impl LabelledImages {
    /// Opens either layout: CLIP-benchmark's [`web_dataset`](Self::web_dataset) if `SPLIT/nshards.txt` exists, else an
    /// [`image_folder`](Self::image_folder).
    ///
    /// # Errors
    /// Those of the two.
    pub fn open(root: &Path, split: &str, templates: Option<Templates>) -> Result<Self, TaskError> {
        match root.join(split).join(SHARDS).exists() {
            true => Self::web_dataset(root, split, templates),
            false => Self::image_folder(root, templates),
        }
    }
}
