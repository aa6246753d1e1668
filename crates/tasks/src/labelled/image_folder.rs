//! A folder of images per class.

use std::collections::HashMap;
use std::path::Path;

use sail_data::source::{SourceOptions, open_images};

use super::labelled_images::{CLASS_NAMES, LabelledImages, TEMPLATES};
use crate::error::TaskError;
use crate::files::read_lines;
use crate::inputs::Images;
use crate::skips::Skips;
use crate::templates::Templates;

impl LabelledImages {
    /// Opens a folder with a subfolder for each class, which contains its images at any depth.
    ///
    /// Class indices are in the order of the bytes of the folder names; folders with a leading dot are ignored. Class names
    /// are the lines of `classnames.txt` in the same order, or the folder names with spaces instead of underscores. Templates
    /// are those given, or those of `zeroshot_classification_templates.txt` in the folder, or the default.
    ///
    /// # Errors
    /// [`TaskError::Empty`] without a class, [`TaskError::ClassWithoutImages`], [`TaskError::ClassCount`] if the number of
    /// names is not the number of folders, [`TaskError::Images`] if the folder cannot be read, and those of
    /// [`Templates::open`].
    pub fn image_folder(root: &Path, templates: Option<Templates>) -> Result<Self, TaskError> {
        open(root, templates)
    }
}

fn open(root: &Path, templates: Option<Templates>) -> Result<LabelledImages, TaskError> {
    let folders = class_folders(root)?;
    let path = root.join(TEMPLATES);
    let templates = match templates {
        Some(templates) => templates,
        None if path.exists() => Templates::open(&path)?,
        None => Templates::default(),
    };
    let path = root.join(CLASS_NAMES);
    let classes = match path.exists() {
        true => read_lines(&path, "class names, one per line")?,
        false => folders.iter().map(|folder| folder.replace('_', " ")).collect(),
    };
    if classes.len() != folders.len() {
        let (found, expected) = (classes.len(), folders.len());
        return Err(TaskError::ClassCount { path, found, expected });
    }
    let class_of: HashMap<&str, usize> = folders.iter().map(String::as_str).zip(0..).collect();
    let source = open_images(root, &SourceOptions::default()).map_err(TaskError::Images)?;
    let (mut labels, mut records, mut skipped) = (HashMap::new(), Vec::new(), Skips::default());
    let mut counts = vec![0usize; folders.len()];
    for record in source.records(0..u64::MAX).map_err(TaskError::Images)? {
        let record = record.map_err(TaskError::Images)?;
        match record.key.split_once('/').and_then(|(folder, _)| class_of.get(folder)) {
            Some(&class) => {
                counts[class] += 1;
                labels.insert(record.key.clone(), class);
                records.push(record);
            }
            None => skipped.add(&record.key, "the image is in no class folder"),
        }
    }
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        return Err(TaskError::ClassWithoutImages { path: root.join(&folders[class]) });
    }
    let (images, path) = (Images::listed(records), root.to_owned());
    Ok(LabelledImages { images, labels, classes, templates, skipped, path })
}

/// Returns the folder names, sorted by their bytes.
fn class_folders(root: &Path) -> Result<Vec<String>, TaskError> {
    let io = |source| TaskError::Io {
        path: root.to_owned(),
        expected: "a folder with a subfolder per class",
        source,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().map_err(io)?.is_dir() && !name.starts_with('.') {
            folders.push(name);
        }
    }
    folders.sort_unstable();
    match folders.is_empty() {
        true => Err(TaskError::Empty { path: root.to_owned(), what: "class folder" }),
        false => Ok(folders),
    }
}
