//! The folder of a repository in the cache, in the layout of `huggingface_hub`.
//!
//! | path | content |
//! |---|---|
//! | `blobs/HASH` | a file, named by its SHA-256, or by its git hash if it is not in LFS |
//! | `blobs/HASH.incomplete` | a partial download |
//! | `snapshots/COMMIT/NAME` | a link to a blob |
//! | `refs/REVISION` | the commit of a branch or tag |
//! | `.no_exist/COMMIT/NAME` | an empty file: the commit has no file with this name |
//! | `.listing/COMMIT.json` | all files of a data set; not part of the layout of `huggingface_hub` |

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sail_support::{open_locked, write_atomic};
use serde::{Deserialize, Serialize};

use crate::{HubError, RepoKind, StopFn};

/// The folder of a repository in the cache.
pub(super) struct CachedRepo {
    root: PathBuf,
    locks: PathBuf,
}

/// A file in a listing of the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) size: u64,
    /// SHA-256 (64 digits), or the SHA-1 of the git blob (40 digits).
    pub(super) hash: String,
}

impl CachedRepo {
    pub(super) fn new(cache: &Path, kind: RepoKind, id: &str) -> Self {
        let folder = kind.cache_folder(id);
        Self { root: cache.join(&folder), locks: cache.join(".locks").join(folder) }
    }

    /// Returns the snapshot of a revision.
    pub(super) fn snapshot(&self, revision: &str) -> Option<PathBuf> {
        let commit = if is_hash(revision, 40) {
            revision.to_owned()
        } else {
            std::fs::read_to_string(self.root.join("refs").join(revision)).ok()?.trim().to_owned()
        };
        let snapshot = is_hash(&commit, 40).then(|| self.snapshot_of(&commit))?;
        snapshot.is_dir().then_some(snapshot)
    }

    pub(super) fn snapshot_of(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// Returns whether each file is in the snapshot or recorded as absent.
    pub(super) fn knows(&self, snapshot: &Path, names: &[&str]) -> bool {
        let absent = self.root.join(".no_exist").join(snapshot.file_name().unwrap_or_default());
        names.iter().all(|name| snapshot.join(name).exists() || absent.join(name).exists())
    }

    pub(super) fn set_absent(&self, commit: &str, name: &str) -> Result<(), HubError> {
        let path = self.root.join(".no_exist").join(commit).join(name);
        create_parent(&path)?;
        File::create(&path).map(drop).map_err(|source| write_error(&path, source))
    }

    /// Returns the saved listing of a snapshot.
    pub(super) fn listing(&self, snapshot: &Path) -> Option<Vec<RemoteFile>> {
        let path = self.listing_of(snapshot.file_name()?.to_str()?);
        // An unreadable listing counts as missing: the hub is asked again.
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    pub(super) fn set_listing<'a>(
        &self,
        commit: &str,
        files: impl Iterator<Item = &'a RemoteFile>,
    ) -> Result<(), HubError> {
        let files: Vec<&RemoteFile> = files.collect();
        let path = self.listing_of(commit);
        create_parent(&path)?;
        write_atomic(&path, |out| Ok(serde_json::to_writer(out, &files)?))
            .map_err(|source| write_error(&path, source))
    }

    fn listing_of(&self, commit: &str) -> PathBuf {
        self.root.join(".listing").join(format!("{commit}.json"))
    }

    pub(super) fn set_ref(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        create_parent(&path)?;
        write_atomic(&path, |out| out.write_all(commit.as_bytes()))
            .map_err(|source| write_error(&path, source))
    }

    /// Returns the link to a file in the snapshot; `download` writes the blob if it is missing.
    ///
    /// A lock file ensures that only one process downloads a blob.
    pub(super) fn get(
        &self,
        commit: &str,
        file: &RemoteFile,
        stop: Option<&StopFn>,
        download: impl FnOnce(&Path) -> Result<(), HubError>,
    ) -> Result<PathBuf, HubError> {
        let blob = self.root.join("blobs").join(&file.hash);
        let lock = self.locks.join(format!("{}.lock", file.hash));
        create_parent(&blob)?;
        create_parent(&lock)?;
        let locked = lock_file(&lock, stop)?;
        if !blob.exists() {
            let partial = blob.with_extension("incomplete");
            download(&partial)?;
            std::fs::rename(&partial, &blob).map_err(|source| write_error(&blob, source))?;
        }
        let link = self.snapshot_of(commit).join(&file.name);
        create_parent(&link)?;
        link_to(&link, &blob, &file.name).map_err(|source| write_error(&link, source))?;
        drop(locked);
        Ok(link)
    }
}

/// Waits for a lock file.
fn lock_file(path: &Path, stop: Option<&StopFn>) -> Result<File, HubError> {
    loop {
        match open_locked(path) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(write_error(path, error)),
            Err(_) if stop.is_some_and(|stop| stop()) => {
                return Err(HubError::Stopped { url: path.display().to_string() });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
            Ok(file) => return Ok(file),
        }
    }
}

/// Links `link` to a blob.
fn link_to(link: &Path, blob: &Path, name: &str) -> std::io::Result<()> {
    if link.exists() {
        return Ok(());
    }
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    #[cfg(unix)]
    {
        // Relative, so that the cache can be moved.
        let mut target = PathBuf::from("../..");
        target.extend(name.split('/').skip(1).map(|_| ".."));
        target.push("blobs");
        target.push(blob.file_name().unwrap_or_default());
        std::os::unix::fs::symlink(target, link)
    }
    #[cfg(not(unix))]
    {
        let _ = name;
        // Symbolic links require privileges on Windows.
        std::fs::hard_link(blob, link).or_else(|_| std::fs::copy(blob, link).map(drop))
    }
}

fn create_parent(path: &Path) -> Result<(), HubError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|source| write_error(parent, source))
}

/// Returns the error for a failed write.
pub(super) fn write_error(path: &Path, source: std::io::Error) -> HubError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => HubError::DiskFull { path: path.to_owned() },
        _ => HubError::Io { path: path.to_owned(), source },
    }
}

/// Returns whether a string is a hash of this many lower-case hexadecimal digits, and so a safe file name.
pub(super) fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
