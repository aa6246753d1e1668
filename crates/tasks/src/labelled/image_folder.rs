//! A folder of images per class.

use std::collections::HashMap;
use std::path::Path;

use sail_data::source::{SourceOptions, is_hidden, open_images};

use super::class_folders::{ClassFolders, name_folders};
use super::labelled_images::{LabelledImages, TEMPLATES};
use crate::error::TaskError;
use crate::inputs::{Images, passed_over_note};
use crate::skips::Skips;
use crate::templates::Templates;

/// Names of splits, which folders of class folders are in.
const SPLITS: [&str; 8] = ["train", "training", "val", "valid", "validation", "dev", "test", "testing"];

impl LabelledImages {
    /// Opens a folder with a subfolder for each class, which contains its images at any depth.
    ///
    /// Class names are the lines of `classnames.txt`, paired with the folders by [`pair_classes`](crate::pair_classes), or
    /// the folder names with spaces instead of underscores. Classes of one name are merged. A folder without a readable
    /// image is not a class, unless `classnames.txt` has a name for it. Hidden files and folders, with a leading dot, and
    /// those of operating systems such as `__MACOSX` do not count. Templates are those given, or those of
    /// `zeroshot_classification_templates.txt` in the folder, or the default. [`notes`](Self::notes) says what was done.
    ///
    /// # Errors
    /// [`TaskError::Empty`] without a class folder, [`TaskError::Splits`] for a folder of splits, [`TaskError::Pairing`] if
    /// the names do not match the folders, [`TaskError::Images`] if the folder cannot be read, and those of
    /// [`Templates::open`].
    pub fn image_folder(
        root: &Path,
        templates: Option<Templates>,
        options: &SourceOptions,
    ) -> Result<Self, TaskError> {
        open(root, templates, options)
    }
}

fn open(
    root: &Path,
    templates: Option<Templates>,
    options: &SourceOptions,
) -> Result<LabelledImages, TaskError> {
    let folders = class_folders(root, options)?;
    let path = root.join(TEMPLATES);
    let templates = match templates {
        Some(templates) => templates,
        None if path.exists() => Templates::open(&path)?,
        None => Templates::default(),
    };
    let index: HashMap<&str, usize> = folders.iter().map(String::as_str).zip(0..).collect();
    let source = open_images(root, options).map_err(TaskError::Images)?;
    let (mut found, mut skipped, mut images) = (Vec::new(), Skips::default(), vec![0; folders.len()]);
    for record in source.records(0..u64::MAX).map_err(TaskError::Images)? {
        let record = record.map_err(TaskError::Images)?;
        let folder = record.key.split_once('/').and_then(|(folder, _)| index.get(folder));
        match (folder, &record.value) {
            (Some(&folder), value) => {
                images[folder] += usize::from(value.is_ok());
                found.push((folder, record));
            }
            (None, Err(reason)) => skipped.add(&record.key, reason),
            (None, Ok(_)) => skipped.add(&record.key, "the image is in no class folder"),
        }
    }
    let is_split = |folder: &String| SPLITS.contains(&folder.to_lowercase().as_str());
    if folders.iter().all(is_split) && found.iter().all(|(_, record)| record.key.matches('/').count() > 1) {
        return Err(TaskError::Splits { path: root.to_owned(), split: folders[0].clone() });
    }
    let ClassFolders { classes, class_of_folder, listed, merged, mut notes } =
        name_folders(root, &folders, &images)?;
    notes.extend(passed_over_note(source.as_ref()).map_err(TaskError::Images)?);
    let (mut labels, mut records) = (HashMap::new(), Vec::new());
    for (folder, record) in found {
        match (class_of_folder[folder], &record.value) {
            (Some(class), _) => {
                labels.insert(record.key.clone(), class);
                records.push(record);
            }
            (None, Err(reason)) => skipped.add(&record.key, reason),
            (None, Ok(_)) => skipped.add(&record.key, "the image is in no class folder"),
        }
    }
    if labels.is_empty() {
        return Err(skipped.nothing_left("images"));
    }
    let (images, path) = (Images::listed(records), root.to_owned());
    Ok(LabelledImages { images, labels, classes, listed, templates, skipped, merged, notes, path })
}

/// Returns the folder names, sorted by their bytes. A name that is not UTF-8 is a skipped record of the source.
fn class_folders(root: &Path, options: &SourceOptions) -> Result<Vec<String>, TaskError> {
    let io = |source| TaskError::Io {
        path: root.to_owned(),
        expected: "a folder with a subfolder per class",
        source,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root).map_err(io)? {
        let entry = entry.map_err(io)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type().map_err(io)?;
        let is_folder = kind.is_dir() || options.follow_links && entry.path().is_dir();
        if is_folder && !is_hidden(&name) {
            folders.push(name);
        }
    }
    folders.sort_unstable();
    match folders.is_empty() {
        true => Err(TaskError::Empty { path: root.to_owned(), what: "class folder" }),
        false => Ok(folders),
    }
}
