//! Paths as users write them.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the absolute path without links, so that two spellings of one file compare equal. Of a path that does not
/// exist, such as a pattern, the part that exists is resolved.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use sail_support::resolve;
/// let here = std::env::current_dir()?;
/// assert_eq!(resolve(Path::new("absent/../*.tar")), resolve(&here.join("absent/../*.tar")));
/// assert_eq!(resolve(Path::new("./")), resolve(&here));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let resolved = absolute.ancestors().find_map(|known| {
        let rest = absolute.strip_prefix(known).ok()?;
        let known = fs::canonicalize(known).ok()?;
        // Joining nothing would add a slash.
        Some(if rest.as_os_str().is_empty() { known } else { known.join(rest) })
    });
    resolved.unwrap_or(absolute)
}

/// Returns whether there is nothing at a path but, at most, a folder without entries.
pub fn is_vacant(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(_) => true,
        Ok(_) => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_vacant() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_vacant(folder.path()) && is_vacant(&folder.path().join("absent")));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(!is_vacant(folder.path()) && !is_vacant(&folder.path().join("file")));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_eq!(resolve(&folder.path().join("a/new")), resolve(&folder.path().join("b/new")));
        assert_ne!(resolve(&folder.path().join("a")), resolve(&folder.path().join("c")));
    }
}
