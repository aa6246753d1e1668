//! Data sets, from a path or by id.

use std::path::{Path, PathBuf};

use super::{HubError, HubOptions};
use crate::pretrained::spec::parse_id;

/// Where a data set is: a path that exists is taken as it is; anything else is an id of the hub, `owner/name` or
/// `owner/name@revision`, whose files that `wanted` says yes to are fetched unless the cache has them.
///
/// Files come into the cache that the hub's own tools use, under the same guarantees as [`fetch`](crate::fetch): compared
/// with the hub's checksums, taken up where a download broke off, used without a connection once they are complete. The
/// result for an id is the snapshot's folder, whose files are links into the cache. `looked_for` says in words what
/// `wanted` looks for.
///
/// # Errors
/// [`HubError`]: a text that is neither a path nor an id, an id or a revision that does not exist or may not be had, no file
/// that is wanted, a file whose name could lead out of the cache, no network, [`offline`](HubOptions::offline) without a
/// complete copy, a damaged file, a full disk; [`HubError::Disabled`] where this crate is built without the feature `hub`.
///
/// # Examples
/// ```no_run
/// use sail_encoders::{HubOptions, open_dataset};
///
/// let options = HubOptions::from_env()?;
/// let is_table = |name: &str| name.ends_with(".csv");
/// let folder = open_dataset("MMVP/MMVP_VLM", is_table, "tables", &options)?;
/// # Ok::<(), sail_encoders::HubError>(())
/// ```
pub fn open_dataset(
    spec: &str,
    wanted: impl Fn(&str) -> bool,
    looked_for: &str,
    options: &HubOptions,
) -> Result<PathBuf, HubError> {
    let path = Path::new(spec);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let (id, revision) = parse_id(spec)?;
    // A data set belongs to somebody; a bare name is rather a path that is mistyped.
    if !id.contains('/') {
        return Err(HubError::Id(spec.to_owned()));
    }
    let revision = revision.or(options.revision.as_deref()).unwrap_or("main");
    fetch(id, revision, &wanted, looked_for, options)
}

#[cfg(not(feature = "hub"))]
fn fetch(id: &str, _: &str, _: &dyn Fn(&str) -> bool, _: &str, _: &HubOptions) -> Result<PathBuf, HubError> {
    Err(HubError::Disabled(id.to_owned()))
}

#[cfg(feature = "hub")]
fn fetch(
    id: &str,
    revision: &str,
    wanted: &dyn Fn(&str) -> bool,
    looked_for: &str,
    options: &HubOptions,
) -> Result<PathBuf, HubError> {
    use super::RepoKind;
    use super::cache::{CachedRepo, RemoteFile};
    use super::client::Client;

    let select = |files: &[RemoteFile]| -> Result<Vec<RemoteFile>, HubError> {
        let selected: Vec<RemoteFile> = files.iter().filter(|file| wanted(&file.name)).cloned().collect();
        if selected.is_empty() {
            return Err(HubError::NoFiles { id: id.to_owned(), wanted: looked_for.to_owned() });
        }
        match selected.iter().find(|file| !is_path(&file.name)) {
            Some(file) => Err(HubError::FileName { id: id.to_owned(), name: file.name.clone() }),
            None => Ok(selected),
        }
    };
    let cached = CachedRepo::new(&options.cache, RepoKind::Dataset, id);
    if let Some(snapshot) = cached.snapshot(revision)
        && (options.offline || !options.refresh)
        // Without its list of files nobody can tell whether a snapshot is complete.
        && let Some(files) = cached.listing(&snapshot)
        && select(&files)?.iter().all(|file| snapshot.join(&file.name).exists())
    {
        return Ok(snapshot);
    }
    if options.offline {
        return Err(HubError::Offline { id: id.to_owned(), cache: options.cache.clone() });
    }
    let client = Client::new(RepoKind::Dataset, id, options)?;
    let (commit, files) = client.list(revision)?;
    for file in select(&files)? {
        cached.get(&commit, &file, |partial| client.download(&commit, &file, partial))?;
    }
    // Last, so that a revision is known only once what was asked for is complete.
    cached.set_listing(&commit, &files)?;
    cached.set_ref(revision, &commit)?;
    Ok(cached.snapshot_of(&commit))
}

/// Whether a name is a relative path that stays where it is on every system.
#[cfg(feature = "hub")]
fn is_path(name: &str) -> bool {
    let is_part = |part: &str| {
        let plain = |c: char| !c.is_control() && !matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
        !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && part.chars().all(plain)
    };
    name.len() <= 1024 && name.split('/').all(is_part)
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_their_folder() {
        for name in ["a.csv", "test/0.tar", "MLLM_VLM Images/Colour & light/1.jpg", "größe/ä.png", "a/.b/..c"]
        {
            assert!(is_path(name), "{name}");
        }
        for name in ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", "a\\..\\b", "C:/a", "a\0b", "a\nb"]
        {
            assert!(!is_path(name), "{name:?}");
        }
    }
}
