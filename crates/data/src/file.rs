//! Files that are read at positions, and must stay what they were.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sail_core::FeatureError;

use crate::DataError;
use crate::error::ensure_file;

/// A regular file that is opened anew for each use, so any number of them holds no descriptors, and compared with
/// what it was at first.
///
/// A change shows in the length, in the time of the last one, and for a file put in its place in the number that the
/// file system knows it by. What does not show is a write into the file within the tick of the file system's clock
/// (some milliseconds) in which it was first looked at.
#[derive(Debug)]
pub(crate) struct StableFile {
    path: PathBuf,
    identity: Identity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Device and inode; nothing on systems that do not tell them.
    number: (u64, u64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let number = (0, 0);
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), number }
    }
}

impl StableFile {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let metadata = fs::metadata(path).map_err(DataError::io(path))?;
        ensure_file(metadata.is_file(), path, "the entry", "a folder or a device", "a regular file")?;
        Ok(Self { path: path.to_owned(), identity: Identity::of(&metadata) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The length.
    pub(crate) fn bytes(&self) -> u64 {
        self.identity.bytes
    }

    /// Opens the file and reads something. What was read counts only if the file is still the same afterwards.
    ///
    /// # Errors
    /// [`FeatureError::Changed`] and [`FeatureError::Io`].
    pub(crate) fn read<T>(&self, read: impl FnOnce(&File) -> io::Result<T>) -> Result<T, FeatureError> {
        let io = |source| FeatureError::Io { path: self.path.clone(), source };
        // Asked before opening as well: to open a named pipe would wait for its writer.
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
            ("time of change", seconds(is.modified), seconds(was.modified))
        } else {
            let [found, expected] = [is, was].map(|identity| format!("{:?}", identity.number));
            ("device and inode", found, expected)
        };
        Err(FeatureError::Changed { path: self.path.clone(), what, found, expected })
    }
}

/// A time as seconds since 1970.
fn seconds(time: Option<SystemTime>) -> String {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// Fills the buffer from a place in the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset);
    // Every use has a descriptor of its own, so nobody else moves its cursor.
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
    use std::time::Duration;

    fn touch(path: &Path) {
        let time = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn use_it(file: &StableFile) -> Result<[u8; 2], FeatureError> {
        let mut buffer = [0; 2];
        file.read(|from| read_at(from, &mut buffer, 1))?;
        Ok(buffer)
    }

    fn changed(file: &StableFile) -> &'static str {
        match use_it(file) {
            Err(FeatureError::Changed { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_change_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "abc").unwrap();
        let file = StableFile::open(&path).unwrap();
        assert_eq!(use_it(&file).unwrap(), *b"bc");

        fs::write(&path, "ab").unwrap();
        assert_eq!(changed(&file), "length");
        fs::write(&path, "xyz").unwrap();
        touch(&path);
        assert_eq!(changed(&file), "time of change");

        let file = StableFile::open(&path).unwrap();
        let copy = folder.path().join("copy");
        fs::write(&copy, "xyz").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
        fs::rename(&copy, &path).unwrap();
        #[cfg(unix)]
        assert_eq!(changed(&file), "device and inode");

        fs::remove_file(&path).unwrap();
        assert!(matches!(use_it(&file), Err(FeatureError::Io { .. })));
    }

    #[test]
    fn a_change_during_the_reading_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "abc").unwrap();
        let file = StableFile::open(&path).unwrap();
        let result = file.read(|_| {
            touch(&path);
            Ok(())
        });
        assert!(matches!(result, Err(FeatureError::Changed { .. })), "{result:?}");
        // Cut off in the middle: the change is what is told, not the end of the file.
        let file = StableFile::open(&path).unwrap();
        let result = file.read(|from| {
            fs::write(&path, "a").unwrap();
            read_at(from, &mut [0; 3], 0)
        });
        assert!(matches!(result, Err(FeatureError::Changed { what: "length", .. })), "{result:?}");
    }
}
