//! SHA-256 of the files with weights, known or remembered where possible.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sail_support::{hex, read_bounded, write_atomic};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ModelError;

/// Files with fewer bytes in all are hashed every time, which takes less than a tenth of a second.
const SMALL: u64 = 64 << 20;
/// A file that was changed this recently may change again without a trace in its metadata.
const SETTLED: Duration = Duration::from_secs(2);
/// Maximum number of hashes that are remembered.
const ENTRIES: usize = 256;
/// Maximum size of the file with them.
const MAX_FILE: u64 = 1 << 20;

/// Returns the SHA-256 of the concatenated files, in hexadecimal.
pub(super) fn sha256(files: &[PathBuf]) -> Result<String, ModelError> {
    if let [file] = files
        && let Some(hash) = blob(file)
    {
        return Ok(hash);
    }
    let memory = dirs::cache_dir().map(|folder| folder.join("sail").join("weights.json"));
    remembered(files, memory.as_deref(), SMALL, SETTLED)
}

/// Returns the hash in the name of a file of the hub's cache: `models--org--name/blobs/HASH`.
fn blob(file: &Path) -> Option<String> {
    if !file.is_symlink() {
        return None;
    }
    let target = file.canonicalize().ok()?;
    let mut names = target.iter().rev().map(|name| name.to_str());
    let (hash, blobs, repository) = (names.next()??, names.next()??, names.next()??);
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && blobs == "blobs" && repository.starts_with("models--")).then(|| hash.to_owned())
}

/// A hash and the state of the files when it was computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    files: Vec<Stamp>,
    sha256: String,
}

/// What tells whether a file has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    size: u64,
    /// Nanoseconds since 1970.
    modified: u128,
    /// Device, inode, and the time of the last change in nanoseconds, which programs cannot set.
    #[serde(default)]
    node: Option<(u64, u64, i128)>,
}

/// Returns the hash that `memory` has for files in this state, or computes and remembers it.
fn remembered(
    files: &[PathBuf],
    memory: Option<&Path>,
    small: u64,
    settled: Duration,
) -> Result<String, ModelError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamps = stamps(files)?;
    let memory = memory.filter(|_| stamps.iter().map(|stamp| stamp.size).sum::<u64>() >= small);
    let Some(memory) = memory else { return compute(files) };
    // An unreadable file is as good as none: the hashes are computed again.
    let bytes = read_bounded(memory, MAX_FILE).unwrap_or_default();
    let mut entries: Vec<Entry> = serde_json::from_slice(&bytes).unwrap_or_default();
    if let Some(entry) = entries.iter().find(|entry| entry.files == stamps) {
        return Ok(entry.sha256.clone());
    }
    let sha256 = compute(files)?;
    let before = now.saturating_sub(settled).as_nanos();
    let is_settled = |stamp: &Stamp| {
        let changed = stamp.node.map_or(0, |(_, _, changed)| u128::try_from(changed).unwrap_or(0));
        stamp.modified.max(changed) <= before
    };
    if stamps.iter().all(is_settled) && self::stamps(files)? == stamps {
        let same_files = |entry: &Entry| {
            entry.files.iter().map(|stamp| &stamp.path).eq(stamps.iter().map(|stamp| &stamp.path))
        };
        entries.retain(|entry| !same_files(entry));
        entries.drain(..entries.len().saturating_sub(ENTRIES - 1));
        entries.push(Entry { files: stamps.clone(), sha256: sha256.clone() });
        // Without a writable cache folder, the next start computes the hash again.
        let folder = memory.parent().map_or(Ok(()), std::fs::create_dir_all);
        let _ = folder.and_then(|()| write_atomic(memory, |out| Ok(serde_json::to_writer(out, &entries)?)));
    }
    Ok(sha256)
}

fn stamps(files: &[PathBuf]) -> Result<Vec<Stamp>, ModelError> {
    let stamp = |path: &PathBuf| {
        let path = path.canonicalize()?;
        let metadata = path.metadata()?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Stamp { path, size: metadata.len(), modified, node: node(&metadata) })
    };
    let stamp = |path| stamp(path).map_err(|source| ModelError::Io { path: path.clone(), source });
    files.iter().map(stamp).collect()
}

#[cfg(unix)]
fn node(metadata: &Metadata) -> Option<(u64, u64, i128)> {
    use std::os::unix::fs::MetadataExt;
    let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    Some((metadata.dev(), metadata.ino(), changed))
}

#[cfg(not(unix))]
fn node(_: &Metadata) -> Option<(u64, u64, i128)> {
    None
}

fn compute(files: &[PathBuf]) -> Result<String, ModelError> {
    let mut hash = Sha256::new();
    // Not memory-mapped: mapped pages would count as memory of the process.
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let io = |source| ModelError::Io { path: path.clone(), source };
        let mut file = File::open(path).map_err(io)?;
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => break,
                read => hash.update(buffer.get(..read).unwrap_or_default()),
            }
        }
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> String {
        hex(&Sha256::digest(bytes))
    }

    #[test]
    fn hashes_are_remembered_until_a_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("new/weights.json");
        let files = ["a", "b"].map(|name| folder.path().join(name));
        let write = |index: usize, text: &str| std::fs::write(&files[index], text).unwrap();
        let find = || remembered(&files, Some(&memory), 1, Duration::ZERO).unwrap();
        write(0, "one");
        write(1, "two");
        assert_eq!(find(), hash(b"onetwo"));

        // The second time, the files are not read.
        let mut entries: Vec<Entry> = serde_json::from_slice(&std::fs::read(&memory).unwrap()).unwrap();
        assert_eq!(entries.len(), 1);
        entries[0].sha256 = "remembered".into();
        std::fs::write(&memory, serde_json::to_vec(&entries).unwrap()).unwrap();
        assert_eq!(find(), "remembered");

        // A file of the same size and time of modification, in the same place.
        let modified = files[1].metadata().unwrap().modified().unwrap();
        write(1, "six");
        if cfg!(unix) {
            File::options().write(true).open(&files[1]).unwrap().set_modified(modified).unwrap();
        }
        assert_eq!(find(), hash(b"onesix"));
        let entries: Vec<Entry> = serde_json::from_slice(&std::fs::read(&memory).unwrap()).unwrap();
        assert_eq!(entries.len(), 1, "the state before is forgotten");

        for damaged in [&b"not JSON"[..], b"[{\"files\": 3}]", b""] {
            std::fs::write(&memory, damaged).unwrap();
            assert_eq!(find(), hash(b"onesix"));
        }
    }

    #[test]
    fn recent_and_small_files_are_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, file) = (folder.path().join("weights.json"), folder.path().join("a"));
        std::fs::write(&file, "weights").unwrap();
        let hour = Duration::from_secs(3600);
        for (small, settled) in [(1, hour), (8, Duration::ZERO)] {
            let found = remembered(std::slice::from_ref(&file), Some(&memory), small, settled).unwrap();
            assert_eq!(found, hash(b"weights"));
            assert!(!memory.exists());
        }
        assert!(remembered(&[folder.path().join("none")], Some(&memory), 1, hour).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_cache_of_the_hub_names_files_by_their_hash() {
        let root = tempfile::tempdir().unwrap();
        let link = |repository: &str, folder: &str, name: &str| {
            let repository = root.path().join(repository);
            let (blobs, snapshot) = (repository.join(folder), repository.join("snapshots/0123"));
            std::fs::create_dir_all(&blobs).unwrap();
            std::fs::create_dir_all(&snapshot).unwrap();
            std::fs::write(blobs.join(name), "x").unwrap();
            let link = snapshot.join(format!("{folder}-{name}"));
            std::os::unix::fs::symlink(format!("../../{folder}/{name}"), &link).unwrap();
            link
        };
        let name = hash(b"something else");
        let file = link("models--org--name", "blobs", &name);
        assert_eq!(sha256(std::slice::from_ref(&file)).unwrap(), name);
        // The hash of several files is that of their concatenation.
        assert_eq!(sha256(&[file.clone(), file]).unwrap(), hash(b"xx"));
        for (repository, folder, name) in [
            ("models--org--name", "files", name.as_str()),
            ("other", "blobs", &name),
            ("models--org--name", "blobs", &name[..40]),
            ("models--org--name", "blobs", &name.to_uppercase()),
        ] {
            assert_eq!(
                sha256(&[link(repository, folder, name)]).unwrap(),
                hash(b"x"),
                "{repository} {folder}"
            );
        }
    }
}
