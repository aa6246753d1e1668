//! Data sets in the layout of CLIP-benchmark.

use std::collections::HashMap;
use std::path::Path;

use sail_data::Fingerprint;
use sail_data::source::{SourceOptions, open_images, tar_members};

use super::class_folders::merge_note;
use super::labelled_images::{CLASS_NAMES, LabelledImages, TEMPLATES};
use crate::class_pairing::{MergedClasses, merge_same_names};
use crate::error::TaskError;
use crate::files::{malformed, read_lines, read_text};
use crate::inputs::{Images, ImagesAlone};
use crate::skips::Skips;
use crate::templates::Templates;

/// The file with the number of archives of a split.
pub(crate) const SHARDS: &str = "nshards.txt";
/// The file with the type of the data set; missing for classification.
pub(crate) const DATASET_TYPE: &str = "dataset_type.txt";
/// Maximum number of archives.
const MAX_SHARDS: u64 = 1 << 20;
/// Maximum length of a label.
const MAX_LABEL_BYTES: u64 = 64;

impl LabelledImages {
    /// Opens a data set for zero-shot classification in the layout of CLIP-benchmark (`clip-benchmark/wds_...` on the hub).
    ///
    /// The folder has `classnames.txt`, `zeroshot_classification_templates.txt`, `SPLIT/nshards.txt` with the number N of
    /// archives, and the archives `SPLIT/0.tar` to `SPLIT/(N - 1).tar` with the members `KEY.jpg` (or `png`, `webp`) and
    /// `KEY.cls`, the class index; keys may repeat in other archives. The split is usually `test`. Given `templates` replace those of the file. Classes of one
    /// name are merged.
    ///
    /// # Errors
    /// [`TaskError::DatasetType`] for a data set of another type, [`TaskError::Label`] for a label out of range,
    /// [`TaskError::Duplicate`] for a key with two labels in an archive, [`TaskError::Empty`] without a class or a label,
    /// [`TaskError::Images`] for archives that cannot be read, and those of [`Templates::open`].
    pub fn web_dataset(
        root: &Path,
        split: &str,
        templates: Option<Templates>,
        options: &SourceOptions,
    ) -> Result<Self, TaskError> {
        open(root, split, templates, options)
    }
}

fn open(
    root: &Path,
    split: &str,
    templates: Option<Templates>,
    options: &SourceOptions,
) -> Result<LabelledImages, TaskError> {
    let path = root.join(DATASET_TYPE);
    if path.exists() {
        let found = read_text(&path, "the type of the data set")?.trim().to_lowercase();
        if found != "classification" {
            return Err(TaskError::DatasetType { path, found });
        }
    }
    let path = root.join(CLASS_NAMES);
    let names = read_lines(&path, "class names, one per line")?;
    if names.is_empty() {
        return Err(TaskError::Empty { path, what: "class" });
    }
    let MergedClasses { classes, class, repeated } = merge_same_names(names, String::clone);
    let templates = match templates {
        Some(templates) => templates,
        None => Templates::open(&root.join(TEMPLATES))?,
    };
    let folder = root.join(split);
    let path = folder.join(SHARDS);
    let text = read_text(&path, "the number of archives")?;
    let shards = text.trim().parse().ok().filter(|shards| (1..=MAX_SHARDS).contains(shards));
    let shards: u64 = shards.ok_or_else(|| {
        let found: String = text.trim().chars().take(20).collect();
        malformed(
            &path,
            "the content",
            format!("found `{found}`, expected an integer from 1 to {MAX_SHARDS}"),
        )
    })?;
    let (mut labels, mut skipped, mut fingerprint) =
        (HashMap::new(), Skips::default(), Fingerprint::default());
    if shards > 1 {
        // Earlier features of the cache have other keys.
        fingerprint.add(b"keys by archive");
    }
    for shard in 0..shards {
        let tar = folder.join(format!("{shard}.tar"));
        for record in tar_members(&tar, "cls", MAX_LABEL_BYTES).map_err(TaskError::Images)? {
            let record = record.map_err(TaskError::Images)?;
            let bytes = match record.value {
                Ok(bytes) => bytes,
                Err(reason) => {
                    skipped.add(&record.key, reason);
                    continue;
                }
            };
            let text = String::from_utf8_lossy(&bytes);
            let label = text.trim().parse().ok().and_then(|label: usize| class.get(label));
            let Some(&label) = label else {
                let (found, classes) = (text.trim().to_owned(), class.len());
                return Err(TaskError::Label { path: tar, key: record.key, found, classes });
            };
            // As the source of the images prefixes the keys of several archives.
            let key = if shards > 1 { format!("{shard}/{}", record.key) } else { record.key.clone() };
            if labels.insert(key, label).is_some() {
                return Err(TaskError::Duplicate { path: tar, what: "label of", name: record.key });
            }
        }
        fingerprint.add_file(&tar);
    }
    if labels.is_empty() {
        return Err(TaskError::Empty { path: folder, what: "label" });
    }
    let pattern = folder.join(format!("{{0..{}}}.tar", shards - 1));
    let source = Box::new(ImagesAlone(open_images(&pattern, options).map_err(TaskError::Images)?));
    let images = Images { source, fingerprint: fingerprint.finish() };
    let (merged, path) = (repeated.len(), folder);
    let notes = if merged == 0 { Vec::new() } else { vec![merge_note(&repeated)] };
    Ok(LabelledImages { images, labels, classes, listed: true, templates, skipped, merged, notes, path })
}
