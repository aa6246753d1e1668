//! Snapshots of a repository: in the cache, and on the hub.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sail_support::is_portable_path;

use crate::cache::{CachedRepo, RemoteFile};
use crate::client::Client;
use crate::id::is_revision;
use crate::{HubError, HubOptions, RepoId, RepoKind, StopFn};

/// A revision of a repository.
///
/// The revision is that of the id, else that of the options, else the branch `main`.
pub struct Repository<'a> {
    kind: RepoKind,
    id: &'a RepoId,
    revision: &'a str,
    options: &'a HubOptions,
    cache: CachedRepo,
}

impl<'a> Repository<'a> {
    /// Creates a repository without accessing cache or network.
    ///
    /// # Errors
    /// Returns [`HubError::Id`] if the revision of the options is invalid.
    pub fn new(kind: RepoKind, id: &'a RepoId, options: &'a HubOptions) -> Result<Self, HubError> {
        let revision = id.revision().or(options.revision.as_deref()).unwrap_or("main");
        if !is_revision(revision) {
            return Err(HubError::Id(format!("{}@{revision}", id.name())));
        }
        let cache = CachedRepo::new(&options.cache, kind, id.name());
        Ok(Self { kind, id, revision, options, cache })
    }

    /// Returns the folder of the revision's snapshot in the cache, which may be incomplete.
    pub fn cached(&self) -> Option<PathBuf> {
        self.cache.snapshot(self.revision)
    }

    /// Returns whether the cache records for each of the files that the snapshot has it, or that the repository does not.
    pub fn knows(&self, snapshot: &Path, files: &[&str]) -> bool {
        self.cache.knows(snapshot, files)
    }

    /// Returns whether only the cache may be used: [`offline`](HubOptions::offline), or a build without downloads.
    pub fn is_offline(&self) -> bool {
        self.options.offline || cfg!(not(feature = "download"))
    }

    /// Requests the commit and the files of the revision from the hub.
    ///
    /// # Errors
    /// Returns [`HubError`] if the repository or the revision does not exist or is not accessible, and if the hub cannot
    /// be reached or [`is_offline`](Self::is_offline).
    pub fn list(&self) -> Result<Listing<'_>, HubError> {
        let id = self.id.name();
        if cfg!(feature = "download") && self.options.offline {
            return Err(HubError::Offline { id: id.to_owned(), cache: self.options.cache.clone() });
        }
        let client = Client::new(self.kind, id, self.options)?;
        let (commit, files) = client.list(self.revision)?;
        let files = files.into_iter().map(|file| (file.name.clone(), file)).collect();
        Ok(Listing { repository: self, client, commit, files })
    }

    /// Returns the path of one file of the revision, downloading it unless the cache has it.
    ///
    /// # Errors
    /// As [`list`](Self::list) and [`Listing::fetch`].
    ///
    /// # Examples
    /// ```no_run
    /// use sail_hub::{HubOptions, RepoId, RepoKind, Repository};
    ///
    /// let id: RepoId = "le723z/sail".parse()?;
    /// let options = HubOptions::from_env()?;
    /// let head = Repository::new(RepoKind::Model, &id, &options)?.file("sail_dinov2l_gte.pt")?;
    /// # Ok::<(), sail_hub::HubError>(())
    /// ```
    pub fn file(&self, name: &str) -> Result<PathBuf, HubError> {
        if !is_portable_path(name) {
            return Err(HubError::FileName { id: self.id.name().to_owned(), name: name.to_owned() });
        }
        if (self.is_offline() || !self.options.refresh)
            && let Some(path) = self.cached().map(|snapshot| snapshot.join(name)).filter(|path| path.exists())
        {
            return Ok(path);
        }
        let listing = self.list()?;
        let path = listing.fetch(name)?;
        listing.finish()?;
        Ok(path)
    }

    /// Returns the files of a snapshot if they were saved.
    pub(crate) fn saved_listing(&self, snapshot: &Path) -> Option<Vec<String>> {
        let files = self.cache.listing(snapshot)?;
        Some(files.into_iter().map(|file| file.name).collect())
    }
}

/// The files of a commit on the hub.
pub struct Listing<'a> {
    repository: &'a Repository<'a>,
    client: Client<'a>,
    commit: String,
    files: BTreeMap<String, RemoteFile>,
}

impl Listing<'_> {
    /// Returns the names of the files, sorted.
    pub fn files(&self) -> impl Iterator<Item = &str> + Clone {
        self.files.keys().map(String::as_str)
    }

    /// Returns whether the commit has a file.
    pub fn contains(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Returns the path of a file in the snapshot, downloading it unless the cache has it.
    ///
    /// # Errors
    /// Returns [`HubError`] if there is no such file, its name is not a plain relative path, the download fails, or the
    /// cache cannot be written.
    pub fn fetch(&self, name: &str) -> Result<PathBuf, HubError> {
        self.fetch_unless(name, self.repository.options.stop.as_ref())
    }

    /// Fetches several files at the same time and returns their paths.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch), for the first file that fails; the others stop and can be resumed.
    pub fn fetch_all(&self, names: &[impl AsRef<str> + Sync]) -> Result<Vec<PathBuf>, HubError> {
        let HubOptions { stop, connections, .. } = self.repository.options;
        let failed = Arc::new(AtomicBool::new(false));
        let (flag, asked) = (failed.clone(), stop.clone());
        let stop: StopFn =
            Arc::new(move || flag.load(Ordering::Relaxed) || asked.as_ref().is_some_and(|stop| stop()));
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(index) =
                Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < names.len())
            {
                let result = self.fetch_unless(names[index].as_ref(), Some(&stop));
                let has_failed = result.is_err();
                done.push((index, result));
                if has_failed {
                    failed.store(true, Ordering::Relaxed);
                    break;
                }
            }
            done
        };
        let mut results: Vec<(usize, Result<PathBuf, HubError>)> = thread::scope(|scope| {
            let threads = names.len().min(*connections).max(1);
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            // A panic is that of the progress callback.
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        // The cause before the files that it stopped, then the paths in order.
        results.sort_by_key(|(index, result)| match result {
            Err(HubError::Stopped { .. }) => (1, *index),
            Err(_) => (0, *index),
            Ok(_) => (2, *index),
        });
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn fetch_unless(&self, name: &str, stop: Option<&StopFn>) -> Result<PathBuf, HubError> {
        let id = || self.repository.id.name().to_owned();
        let file =
            self.files.get(name).ok_or_else(|| HubError::NoFiles { id: id(), wanted: name.to_owned() })?;
        if !is_portable_path(name) {
            return Err(HubError::FileName { id: id(), name: name.to_owned() });
        }
        let download = |partial: &Path| self.client.download(&self.commit, file, partial, stop);
        self.repository.cache.get(&self.commit, file, stop, download)
    }

    /// Records in the cache that the commit does not have a file.
    ///
    /// # Errors
    /// Returns [`HubError::Io`] if the cache cannot be written.
    pub fn set_absent(&self, name: &str) -> Result<(), HubError> {
        self.repository.cache.set_absent(&self.commit, name)
    }

    /// Records in the cache that the revision points to this commit, and returns the folder of the snapshot.
    ///
    /// Call this after all files have been fetched, so that an incomplete snapshot is not used.
    ///
    /// # Errors
    /// Returns [`HubError::Io`] if the cache cannot be written.
    pub fn finish(&self) -> Result<PathBuf, HubError> {
        self.repository.cache.set_ref(self.repository.revision, &self.commit)?;
        Ok(self.repository.cache.snapshot_of(&self.commit))
    }

    /// Saves the listing in the cache.
    pub(crate) fn save(&self) -> Result<(), HubError> {
        self.repository.cache.set_listing(&self.commit, self.files.values())
    }
}
