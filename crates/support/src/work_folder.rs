//! Output folders of jobs: created atomically, and written by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::atomic::{TEMPORARY_PREFIX, parent_folder};

/// A folder that is filled under a temporary name and then renamed, so that it appears complete or not at all.
///
/// Dropping the value without [`publish`](Self::publish) removes the folder.
///
/// # Examples
/// ```
/// let parent = tempfile::tempdir()?;
/// let path = parent.path().join("run");
/// let folder = sail_support::NewFolder::create(&path)?;
/// std::fs::write(folder.path().join("config.json"), "{}")?;
/// assert!(!path.exists());
/// folder.publish()?;
/// assert!(path.join("config.json").exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFolder<'a> {
    temporary: TempDir,
    path: &'a Path,
}

impl<'a> NewFolder<'a> {
    /// Creates the parents of `path` and, next to it, an empty folder with a temporary name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if `path` exists, and other I/O errors.
    pub fn create(path: &'a Path) -> io::Result<Self> {
        check_absent(path)?;
        let parent = parent_folder(path);
        fs::create_dir_all(parent)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        // A temporary folder is private by default; the result has the permissions of any other new folder.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        Ok(Self { temporary: builder.tempdir_in(parent)?, path })
    }

    /// The path under its temporary name.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Renames the folder to its final name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is one by now, and other I/O errors. The folder is removed then.
    pub fn publish(self) -> io::Result<()> {
        check_absent(self.path)?;
        fs::rename(self.temporary.path(), self.path)?;
        // The temporary name is gone, so there is nothing to remove.
        let _ = self.temporary.keep();
        Ok(())
    }
}

/// A rename would replace an empty folder.
fn check_absent(path: &Path) -> io::Result<()> {
    match path.exists() {
        true => Err(io::ErrorKind::AlreadyExists.into()),
        false => Ok(()),
    }
}

/// Opens a file for reading and writing, creating it if it is missing, and locks it until it is closed.
///
/// Some network file systems have no locks. There, the file is opened with a warning.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another process holds the lock, and other I/O errors.
pub fn open_locked(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    check_lock(file.try_lock(), path)?;
    Ok(file)
}

/// Fails only for a lock that another process holds: a lock protects from a second process, and the first can do without.
fn check_lock(locked: Result<(), TryLockError>, path: &Path) -> io::Result<()> {
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => {
            tracing::warn!(
                "cannot lock {} ({error}): make sure that no other process writes to its folder",
                path.display()
            );
            Ok(())
        }
    }
}

/// Removes the temporary files that a killed process has left in a folder: unfinished
/// [atomic writes](crate::write_atomic). No other process may be writing there.
///
/// # Errors
/// I/O errors.
pub fn remove_temporary_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpublished_folder_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/run");
        drop(NewFolder::create(&path).unwrap());
        assert_eq!(fs::read_dir(parent.path().join("a")).unwrap().count(), 0);
        let folder = NewFolder::create(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(folder.publish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(NewFolder::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(parent.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_locked_file_is_not_opened_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = open_locked(&path).unwrap();
        assert_eq!(open_locked(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(file);
        open_locked(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_file_system_without_locks_is_no_error() {
        let path = Path::new("log");
        // ENOLCK, ENOSYS and EOPNOTSUPP of Linux.
        for code in [37, 38, 95] {
            let unsupported = TryLockError::Error(io::Error::from_raw_os_error(code));
            check_lock(Err(unsupported), path).unwrap();
        }
        let held = check_lock(Err(TryLockError::WouldBlock), path).unwrap_err();
        assert_eq!(held.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn only_temporary_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".tmp-1"), "half").unwrap();
        fs::write(folder.path().join("kept"), "whole").unwrap();
        remove_temporary_files(folder.path()).unwrap();
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"]);
    }
}
