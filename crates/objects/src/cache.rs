//! Objects in the local cache.
//!
//! | path | content |
//! |---|---|
//! | `blobs/HASH` | an object, by the hash of its address, size and tag |
//! | `folders/HASH/NAME` | the objects below a URL as hard links to blobs, by the hash of their list |

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::GetOptions;
use sail_support::{Progress, hex};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::ObjectError;
use crate::bucket::{Bucket, Object};

/// A callback for progress, in bytes.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How objects are fetched.
#[derive(Clone)]
pub struct FetchOptions {
    /// The folder of the cache.
    pub cache: PathBuf,
    /// Maximum number of bytes below a URL.
    pub max_bytes: u64,
    /// Maximum number of objects that are received at the same time.
    pub connections: usize,
    /// Callback for progress.
    pub progress: Option<ProgressFn>,
}

impl FetchOptions {
    /// Fetches into a cache folder, whatever the size, 8 objects at a time.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self { cache: cache.into(), max_bytes: u64::MAX, connections: 8, progress: None }
    }
}

impl Bucket {
    /// Brings the objects below the URL into the cache, and returns their folder, or the file if the URL is that of one
    /// object. A folder is complete when this returns, and never changes: if objects change, there is another one.
    ///
    /// # Errors
    /// [`ObjectError`] if there are none, they are larger than the limit, a name is not a plain relative path, an object
    /// cannot be fetched or changes meanwhile, or the cache cannot be written. What has been fetched is not fetched again.
    pub fn fetch(&self, options: &FetchOptions) -> Result<PathBuf, ObjectError> {
        let objects = self.list()?;
        let found = objects.iter().map(|object| object.meta.size).sum();
        if found > options.max_bytes {
            return Err(ObjectError::TooLarge { url: self.url.clone(), found, max: options.max_bytes });
        }
        let blobs = options.cache.join("blobs");
        fs::create_dir_all(&blobs).map_err(ObjectError::io(&blobs))?;
        let mut list = Sha256::new();
        let mut missing = Vec::new();
        for object in &objects {
            let hash = self.hash(object);
            list.update(format!("{}\0{hash}\0", object.name));
            let blob = blobs.join(hash);
            if !blob.exists() {
                missing.push((object, blob));
            }
        }
        let total = missing.iter().map(|(object, _)| object.meta.size).sum();
        let received = AtomicU64::new(0);
        let report = |bytes: u64| {
            let received = received.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if let Some(progress) = &options.progress {
                progress(Progress { done: received, total, unit: "bytes" });
            }
        };
        let downloads = missing.iter().map(|(object, blob)| self.download(object, blob, &report));
        self.wait(stream::iter(downloads).buffer_unordered(options.connections.max(1)).try_collect::<()>())?;

        let folder = options.cache.join("folders").join(hex(&list.finalize()));
        for object in &objects {
            link(&blobs.join(self.hash(object)), &folder.join(&object.name))?;
        }
        match objects.as_slice() {
            [object] if object.meta.location == self.prefix => Ok(folder.join(&object.name)),
            _ => Ok(folder),
        }
    }

    /// Returns the name of an object's blob.
    fn hash(&self, object: &Object) -> String {
        let meta = &object.meta;
        let modified = meta.last_modified.timestamp_micros().to_string();
        // Not every store has tags.
        let tag = meta.e_tag.as_deref().unwrap_or(&modified);
        hex(&Sha256::digest(format!("{}\0{}\0{}\0{tag}", self.store, meta.location, meta.size)))
    }

    async fn download(&self, object: &Object, blob: &Path, report: &dyn Fn(u64)) -> Result<(), ObjectError> {
        let folder = blob.parent().unwrap_or(Path::new(""));
        let mut file = NamedTempFile::new_in(folder).map_err(ObjectError::io(folder))?;
        // An object that has been replaced since it was listed is an error.
        let unchanged = GetOptions { if_match: object.meta.e_tag.clone(), ..GetOptions::default() };
        let (mut found, expected) = (0, object.meta.size);
        // An empty one may stand for an empty folder, which cannot be fetched by the path in the list.
        if expected > 0 {
            let get = self.store.get_opts(&object.meta.location, unchanged).await;
            let mut body = get.map_err(|source| self.error(source))?.into_stream();
            while let Some(bytes) = body.try_next().await.map_err(|source| self.error(source))? {
                file.write_all(&bytes).map_err(ObjectError::io(blob))?;
                found += bytes.len() as u64;
                report(bytes.len() as u64);
            }
        }
        if found != expected {
            let (url, name) = (self.url.clone(), object.name.clone());
            return Err(ObjectError::Length { url, name, found, expected });
        }
        file.as_file().sync_all().map_err(ObjectError::io(blob))?;
        file.persist(blob).map_err(|error| ObjectError::Io { path: blob.to_owned(), source: error.error })?;
        Ok(())
    }
}

/// Links a file to a blob, unless it is there.
fn link(blob: &Path, file: &Path) -> Result<(), ObjectError> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(ObjectError::io(folder))?;
    }
    match fs::hard_link(blob, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has hard links.
        Err(_) => fs::copy(blob, file).map(drop).map_err(ObjectError::io(file)),
        Ok(()) => Ok(()),
    }
}
