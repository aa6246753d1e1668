//! The files below a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::DataError;

/// Linked folders that are listed; more are only possible if links multiply each other.
const MAX_LINKS: usize = 1 << 20;

/// A file below a folder, or a folder that is not listed.
#[derive(Debug)]
pub(super) struct Entry {
    /// The path relative to the folder, with `/` as separator.
    pub(super) key: String,
    /// The reason if the entry is unusable.
    pub(super) fault: Option<&'static str>,
    /// Whether it is a folder, which always has a reason.
    pub(super) is_folder: bool,
}

/// Returns whether a file or folder is hidden: files of operating systems, version control and notebooks, which are not part
/// of a dataset.
///
/// # Examples
/// ```
/// use sail_data::source::is_hidden;
/// assert!(is_hidden(".ipynb_checkpoints") && is_hidden("__MACOSX") && !is_hidden("cat.jpg"));
/// ```
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || matches!(name, "__MACOSX" | "@eaDir")
}

/// A folder to be listed.
struct Folder {
    path: PathBuf,
    prefix: String,
    /// The folders with the links on the way to it, resolved.
    left: Rc<Vec<PathBuf>>,
}

/// Passes every file below a folder to `found`, in any order, except hidden ones.
pub(super) fn list(root: &Path, follow_links: bool, mut found: impl FnMut(Entry)) -> Result<(), DataError> {
    let mut folders = vec![Folder { path: root.to_owned(), prefix: String::new(), left: Rc::default() }];
    let mut links = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder.path).map_err(DataError::io(&folder.path))? {
            let entry = entry.map_err(DataError::io(&folder.path))?;
            let (path, name) = (entry.path(), entry.file_name());
            let key = format!("{}{}", folder.prefix, name.to_string_lossy());
            if is_hidden(&name.to_string_lossy()) {
                continue;
            }
            let kind = entry.file_type().map_err(DataError::io(&folder.path))?;
            let is_link = kind.is_symlink();
            let is_folder = kind.is_dir() || is_link && fs::metadata(&path).is_ok_and(|to| to.is_dir());
            let fault = match name.to_str() {
                None if is_folder => Some("the name of the folder is not valid UTF-8, as keys must be"),
                None => Some("the name of the file is not valid UTF-8"),
                Some(_) if is_link && is_folder && !follow_links => {
                    Some("it is a link to a folder, and such links are not followed")
                }
                Some(_) if is_folder => {
                    links += usize::from(is_link);
                    match left(&folder, &path, is_link)? {
                        Some(left) if links <= MAX_LINKS => {
                            folders.push(Folder { path, prefix: format!("{key}/"), left });
                            continue;
                        }
                        Some(_) => Some("it is one of too many links to folders"),
                        None => Some("it is a link to a folder that contains it"),
                    }
                }
                Some(_) => None,
            };
            found(Entry { key, fault, is_folder });
        }
    }
    Ok(())
}

/// Returns the folders with the links on the way to a folder, or `None` if it leads back to one of them or its parents.
fn left(parent: &Folder, path: &Path, is_link: bool) -> Result<Option<Rc<Vec<PathBuf>>>, DataError> {
    if !is_link {
        return Ok(Some(Rc::clone(&parent.left)));
    }
    let real = |path: &Path| fs::canonicalize(path).map_err(DataError::io(path));
    let (target, current) = (real(path)?, real(&parent.path)?);
    let mut left = parent.left.to_vec();
    left.push(current);
    Ok(left.iter().all(|folder| !folder.starts_with(&target)).then(|| Rc::new(left)))
}
