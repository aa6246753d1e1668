//! The folder of a model or a data set in the cache, in the layout of `huggingface_hub`.
//!
//! | path | what it is |
//! |---|---|
//! | `blobs/HASH` | a file, named by its SHA-256, or by git's hash where it is small |
//! | `blobs/HASH.incomplete` | one that is on its way |
//! | `snapshots/COMMIT/NAME` | a link to a blob |
//! | `refs/REVISION` | the commit that a branch or tag was at |
//! | `.no_exist/COMMIT/NAME` | an empty file: the model has no file of this name |
//! | `.listing/COMMIT.json` | of a data set: every file that it has; not part of `huggingface_hub`'s layout |

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hf_hub::Repo;
use sail_support::write_atomic;
use serde::{Deserialize, Serialize};

use super::{HubError, RepoKind};

/// The folder of a model or a data set in the cache.
pub(super) struct CachedRepo {
    root: PathBuf,
    locks: PathBuf,
}

/// A file as the hub announces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) size: u64,
    /// SHA-256 (64 digits), or git's SHA-1 of a blob (40 digits).
    pub(super) hash: String,
}

impl CachedRepo {
    pub(super) fn new(cache: &Path, kind: RepoKind, id: &str) -> Self {
        let folder = Repo::new(id.to_owned(), kind.into()).folder_name();
        Self { root: cache.join(&folder), locks: cache.join(".locks").join(folder) }
    }

    /// The snapshot of a revision that the cache knows.
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

    /// Whether the cache knows that a snapshot has, or has not, each of these files.
    pub(super) fn knows(&self, snapshot: &Path, names: &[&str]) -> bool {
        let absent = self.root.join(".no_exist").join(snapshot.file_name().unwrap_or_default());
        names.iter().all(|name| snapshot.join(name).exists() || absent.join(name).exists())
    }

    pub(super) fn set_absent(&self, commit: &str, name: &str) -> Result<(), HubError> {
        let path = self.root.join(".no_exist").join(commit).join(name);
        create_parent(&path)?;
        File::create(&path).map(drop).map_err(|source| write_error(&path, source))
    }

    /// Every file of a data set's snapshot, where that was kept.
    pub(super) fn listing(&self, snapshot: &Path) -> Option<Vec<RemoteFile>> {
        let path = self.listing_of(snapshot.file_name()?.to_str()?);
        // One that cannot be read is as good as none: the hub is asked again.
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    pub(super) fn set_listing(&self, commit: &str, files: &[RemoteFile]) -> Result<(), HubError> {
        let path = self.listing_of(commit);
        create_parent(&path)?;
        write_atomic(&path, |out| Ok(serde_json::to_writer(out, files)?))
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

    /// The file's blob, which `download` is asked to write if it is not there, and a link to it in the snapshot.
    ///
    /// Only one process at a time downloads a blob.
    pub(super) fn get(
        &self,
        commit: &str,
        file: &RemoteFile,
        download: impl FnOnce(&Path) -> Result<(), HubError>,
    ) -> Result<PathBuf, HubError> {
        let blob = self.root.join("blobs").join(&file.hash);
        let lock = self.locks.join(format!("{}.lock", file.hash));
        create_parent(&blob)?;
        create_parent(&lock)?;
        let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        let locked = locked.map_err(|source| write_error(&lock, source))?;
        if !blob.exists() {
            let partial = blob.with_extension("incomplete");
            download(&partial)?;
            std::fs::rename(&partial, &blob).map_err(|source| write_error(&blob, source))?;
        }
        let link = self.snapshot_of(commit).join(&file.name);
        create_parent(&link)?;
        point(&link, &blob, &file.name).map_err(|source| write_error(&link, source))?;
        drop(locked);
        Ok(link)
    }
}

/// Makes `link` lead to a blob.
fn point(link: &Path, blob: &Path, name: &str) -> std::io::Result<()> {
    if link.exists() {
        return Ok(());
    }
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    #[cfg(unix)]
    {
        // Relative, so that the cache can be moved: up from `snapshots/COMMIT` and the folders of the name.
        let mut target = PathBuf::from("../..");
        target.extend(name.split('/').skip(1).map(|_| ".."));
        target.push("blobs");
        target.push(blob.file_name().unwrap_or_default());
        std::os::unix::fs::symlink(target, link)
    }
    #[cfg(not(unix))]
    {
        let _ = name;
        // Symbolic links are a privilege on Windows.
        std::fs::hard_link(blob, link).or_else(|_| std::fs::copy(blob, link).map(drop))
    }
}

fn create_parent(path: &Path) -> Result<(), HubError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|source| write_error(parent, source))
}

/// What a failed write is called.
pub(super) fn write_error(path: &Path, source: std::io::Error) -> HubError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => HubError::DiskFull { path: path.to_owned() },
        _ => HubError::Io { path: path.to_owned(), source },
    }
}

/// Whether a string is a hash of this many hexadecimal digits: one that is can be a file's name.
pub(super) fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
