//! Random access to files that must not change.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sail_core::FeatureError;
use sail_support::{ReadError, resolve};

use crate::{DataError, Fingerprint};

/// A regular file that is reopened for each use, so that it holds no file descriptor, and checked for changes.
///
/// A change is detected by the length, the modification time and, for a replaced file on Unix, the inode. A write is not
/// detected if it keeps the length and happens within the tick of the file system's clock (some milliseconds) in which
/// this value was created.
#[derive(Debug)]
pub(crate) struct StableFile {
    path: PathBuf,
    identity: Identity,
    opened: SystemTime,
    /// When the inode last changed, in seconds and nanoseconds. Unlike the modification time, no program can set it.
    inode_changed: Option<(i64, i64)>,
}

/// A file that changed less than this long before it was opened may change again within the tick of the file system's
/// clock. FAT has the longest.
pub(crate) const TICK: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Device and inode; zeros on systems without them.
    inode: (u64, u64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let inode = (0, 0);
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), inode }
    }
}

/// Opens a regular file for reading.
pub(crate) fn open_file(path: &Path) -> Result<File, DataError> {
    sail_support::open_file(path).map_err(DataError::read(path))
}

impl StableFile {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let metadata = fs::metadata(path).map_err(DataError::io(path))?;
        if !metadata.is_file() {
            return Err(DataError::read(path)(ReadError::NotAFile));
        }
        #[cfg(unix)]
        let inode_changed = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let inode_changed = None;
        let (identity, opened) = (Identity::of(&metadata), SystemTime::now());
        Ok(Self { path: path.to_owned(), identity, opened, inode_changed })
    }

    /// Adds what identifies the contents of the file without reading them. Returns `None` if it changed so recently that
    /// another change might not be noticed.
    pub(crate) fn identify(&self, fingerprint: &mut Fingerprint) -> Option<()> {
        let Identity { bytes, modified, inode } = self.identity;
        let modified = modified?.duration_since(UNIX_EPOCH).ok()?;
        let opened = self.opened.duration_since(UNIX_EPOCH).ok()?;
        let changed = self.inode_changed.unwrap_or_default();
        let last = modified.max(Duration::from_secs(u64::try_from(changed.0).unwrap_or_default()));
        if opened.checked_sub(last).is_none_or(|since| since < TICK) {
            return None;
        }
        fingerprint.add(resolve(&self.path).as_os_str().as_encoded_bytes());
        fingerprint.add(&modified.as_nanos().to_le_bytes());
        for value in [bytes, inode.0, inode.1, changed.0 as u64, changed.1 as u64] {
            fingerprint.add(&value.to_le_bytes());
        }
        Some(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.identity.bytes
    }

    /// Opens the file and reads from it. The result is discarded if the file has changed.
    ///
    /// # Errors
    /// [`FeatureError::Changed`] and [`FeatureError::Io`].
    pub(crate) fn read<T>(&self, read: impl FnOnce(&File) -> io::Result<T>) -> Result<T, FeatureError> {
        let io = |source| FeatureError::Io { path: self.path.clone(), source };
        // Also checked before opening: opening a named pipe would block until it has a writer.
        self.unchanged(&fs::metadata(&self.path).map_err(io)?)?;
        let file = File::open(&self.path).map_err(io)?;
        let result = read(&file);
        self.unchanged(&file.metadata().map_err(io)?)?;
        result.map_err(io)
    }

    fn unchanged(&self, metadata: &Metadata) -> Result<(), FeatureError> {
        let (was, is) = (self.identity, Identity::of(metadata));
        let (what, found, expected) = if is == was {
            return Ok(());
        } else if is.bytes != was.bytes {
            ("length", is.bytes.to_string(), was.bytes.to_string())
        } else if is.modified != was.modified {
            ("modification time", seconds(is.modified), seconds(was.modified))
        } else {
            let [found, expected] = [is, was].map(|identity| format!("{:?}", identity.inode));
            ("device and inode", found, expected)
        };
        Err(FeatureError::Changed { path: self.path.clone(), what, found, expected })
    }
}

/// Seconds since 1970.
fn seconds(time: Option<SystemTime>) -> String {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// Fills the buffer from an offset in the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset);
    // Every use has its own file descriptor, so nothing else moves the cursor.
    #[cfg(not(unix))]
    {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        let time = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn read_two(file: &StableFile) -> Result<[u8; 2], FeatureError> {
        let mut buffer = [0; 2];
        file.read(|from| read_at(from, &mut buffer, 1))?;
        Ok(buffer)
    }

    fn changed(file: &StableFile) -> &'static str {
        match read_two(file) {
            Err(FeatureError::Changed { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn detects_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "abc").unwrap();
        let file = StableFile::open(&path).unwrap();
        assert_eq!(read_two(&file).unwrap(), *b"bc");

        fs::write(&path, "ab").unwrap();
        assert_eq!(changed(&file), "length");
        fs::write(&path, "xyz").unwrap();
        touch(&path);
        assert_eq!(changed(&file), "modification time");

        let file = StableFile::open(&path).unwrap();
        let copy = folder.path().join("copy");
        fs::write(&copy, "xyz").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
        fs::rename(&copy, &path).unwrap();
        #[cfg(unix)]
        assert_eq!(changed(&file), "device and inode");

        fs::remove_file(&path).unwrap();
        assert!(matches!(read_two(&file), Err(FeatureError::Io { .. })));
    }

    #[test]
    fn detects_a_change_while_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "abc").unwrap();
        let file = StableFile::open(&path).unwrap();
        let result = file.read(|_| {
            touch(&path);
            Ok(())
        });
        assert!(matches!(result, Err(FeatureError::Changed { .. })), "{result:?}");
        // Truncated while reading: the error is the change, not the end of the file.
        let file = StableFile::open(&path).unwrap();
        let result = file.read(|from| {
            fs::write(&path, "a").unwrap();
            read_at(from, &mut [0; 3], 0)
        });
        assert!(matches!(result, Err(FeatureError::Changed { what: "length", .. })), "{result:?}");
    }
}
