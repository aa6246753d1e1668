//! Opening labelled images in either layout.

use std::path::Path;

use sail_data::source::SourceOptions;

use super::labelled_images::LabelledImages;
use super::web_dataset::SHARDS;
use crate::error::TaskError;
use crate::templates::Templates;

impl LabelledImages {
    /// Opens either layout: CLIP-benchmark's [`web_dataset`](Self::web_dataset) if `SPLIT/nshards.txt` exists, else an
    /// [`image_folder`](Self::image_folder).
    ///
    /// Of the options, the limits and [`follow_links`](SourceOptions::follow_links) apply.
    ///
    /// # Errors
    /// Those of the two.
    pub fn open(
        root: &Path,
        split: &str,
        templates: Option<Templates>,
        options: &SourceOptions,
    ) -> Result<Self, TaskError> {
        match root.join(split).join(SHARDS).exists() {
            true => Self::web_dataset(root, split, templates, options),
            false => Self::image_folder(root, templates, options),
        }
    }
}
