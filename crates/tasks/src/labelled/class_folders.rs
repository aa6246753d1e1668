//! The classes of a folder of class folders.

use std::path::Path;

use super::labelled_images::CLASS_NAMES;
use crate::class_pairing::{
    ClassOrder, MergedClasses, PairingError, are_numbered, merge_same_names, pair_classes,
};
use crate::error::TaskError;
use crate::files::read_lines;
use crate::list::list;

/// Classes, and what is worth saying about them.
pub(super) struct ClassFolders {
    /// Names of the classes.
    pub(super) classes: Vec<String>,
    /// Class of every folder; `None` for a folder that is not a class.
    pub(super) class_of_folder: Vec<Option<usize>>,
    /// Whether the names are those of a list, which classes without an image belong to as well.
    pub(super) listed: bool,
    /// Number of classes that have the name of another.
    pub(super) merged: usize,
    pub(super) notes: Vec<String>,
}

/// Names the class folders in `root`, of which `images` are the numbers of images.
pub(super) fn name_folders(
    root: &Path,
    folders: &[String],
    images: &[usize],
) -> Result<ClassFolders, TaskError> {
    let path = root.join(CLASS_NAMES);
    let (names, class_of_folder, listed, mut notes) = match path.exists() {
        true => listed_names(&path, folders, images)?,
        false => own_names(folders, images),
    };
    let MergedClasses { classes, class, repeated } = merge_same_names(names, String::clone);
    if !repeated.is_empty() {
        notes.push(merge_note(&repeated));
    }
    let class_of_folder = class_of_folder.into_iter().map(|folder| folder.map(|folder| class[folder]));
    Ok(ClassFolders {
        classes,
        class_of_folder: class_of_folder.collect(),
        listed,
        merged: repeated.len(),
        notes,
    })
}

/// Says that classes were merged.
pub(crate) fn merge_note(repeated: &[String]) -> String {
    format!("classes are scored as one with another of their name: {}", list(repeated))
}

type Named = (Vec<String>, Vec<Option<usize>>, bool, Vec<String>);

/// Pairs the folders with a list of names.
fn listed_names(path: &Path, folders: &[String], images: &[usize]) -> Result<Named, TaskError> {
    let lines = read_lines(path, "class names, one per line")?;
    let (with_images, without): (Vec<usize>, Vec<usize>) =
        (0..folders.len()).partition(|&folder| images[folder] > 0);
    let select = |chosen: &[usize]| chosen.iter().map(|&folder| folders[folder].as_str()).collect::<Vec<_>>();
    let all: Vec<usize> = (0..folders.len()).collect();
    let pair = |chosen: Vec<usize>| Ok((pair_classes(&select(&chosen), &lines)?, chosen));
    // A folder without an image is a class if the list has a name for it, but not beside numbered ones.
    let paired = match are_numbered(&select(&with_images)) && !are_numbered(folders) {
        true => pair(with_images),
        false => pair(all).or_else(|error: PairingError| pair(with_images).map_err(|_| error)),
    };
    let (pairing, paired) = paired.map_err(|source| TaskError::Pairing { path: path.to_owned(), source })?;
    let mut notes = Vec::new();
    if pairing.order == ClassOrder::Number {
        notes.push(format!("the class folders are paired with the lines of {CLASS_NAMES} {}", pairing.order));
    }
    if !without.is_empty() {
        let consequence = match paired.len() == folders.len() {
            true => "keep the places of their classes",
            false => "are left out",
        };
        notes.push(format!("folders without an image {consequence}: {}", list(&select(&without))));
    }
    let mut class_of_folder = vec![None; folders.len()];
    for (folder, class) in paired.into_iter().zip(pairing.class_of_folder) {
        class_of_folder[folder] = Some(class);
    }
    Ok((pairing.names, class_of_folder, true, notes))
}

/// Names the folders with images by themselves.
fn own_names(folders: &[String], images: &[usize]) -> Named {
    let (mut names, mut class_of_folder, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for (folder, &images) in folders.iter().zip(images) {
        class_of_folder.push((images > 0).then_some(names.len()));
        match images > 0 {
            true => names.push(folder.replace('_', " ")),
            false => without.push(folder),
        }
    }
    let mut notes = Vec::new();
    if !names.is_empty() && names.iter().all(|name| is_identifier(name)) {
        notes.push(format!(
            "the class folders are named by identifiers such as `{}`, which the prompts use as names: list the names \
             of the classes in {CLASS_NAMES}",
            names[0]
        ));
    }
    if !without.is_empty() {
        notes.push(format!("folders without an image are left out: {}", list(&without)));
    }
    (names, class_of_folder, false, notes)
}

/// Returns whether a name is a number or a WordNet id.
fn is_identifier(name: &str) -> bool {
    let digits = name.strip_prefix('n').filter(|digits| digits.len() == 8).unwrap_or(name);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
