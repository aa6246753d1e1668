//! Atomic file writes.

use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The prefix of the names of unfinished files and folders.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Returns the folder that contains a path: its parent, or `.` for a bare file name.
///
/// # Examples
/// ```
/// use std::path::Path;
/// assert_eq!(sail_support::parent_folder(Path::new("run/head.safetensors")), Path::new("run"));
/// assert_eq!(sail_support::parent_folder(Path::new("run")), Path::new("."));
/// ```
pub fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a file atomically: `path` is either unchanged or has the complete contents, even if the disk is full or the
/// process is killed.
///
/// The contents are written to a temporary file in the same folder, flushed to disk, and renamed to `path`, which
/// replaces an existing file. On error, the temporary file is removed.
///
/// # Errors
/// Returns the error of `write`, or an I/O error if the file cannot be created, flushed or renamed.
///
/// # Examples
/// ```
/// use std::io::Write;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// sail_support::write_atomic(&path, |out| out.write_all(b"whole"))?;
/// assert_eq!(std::fs::read(&path)?, b"whole");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_atomic<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let folder = parent_folder(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    // Temporary files are private by default; the result should have the permissions of any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, &mut file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // Makes the rename itself durable; only Unix can open a folder to flush it.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_write_keeps_the_old_file_and_removes_the_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        write_atomic(&path, |out| out.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
