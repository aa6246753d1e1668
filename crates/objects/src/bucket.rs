//! The objects below a URL.

use std::collections::HashSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, parse_url_opts};
use sail_support::{hex, is_portable_path};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::ObjectError;

/// The schemes of URLs that are read from object stores.
const SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss"];
/// The beginnings of the environment variables that configure the clients.
const VARIABLES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Returns whether a path is the URL of an object store.
///
/// # Examples
/// ```
/// use sail_objects::is_object_url;
/// assert!(is_object_url("s3://bucket/shards") && is_object_url("gs://bucket/a.tar"));
/// assert!(!is_object_url("shards") && !is_object_url("https://example.org/a.tar"));
/// ```
pub fn is_object_url(path: &str) -> bool {
    path.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// The objects below a URL, or the one at it.
pub struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: ObjectPath,
    pub(crate) url: String,
    runtime: Runtime,
}

/// An object and its name below the URL.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) meta: ObjectMeta,
}

impl Bucket {
    /// Opens the bucket of a URL, `s3://`, `gs://` or `az://`, without accessing it.
    ///
    /// Credentials, region and endpoint come from the environment, in the variables of the providers' tools, such as
    /// `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS` and
    /// `AZURE_STORAGE_ACCOUNT_NAME`, or from the machine's role.
    ///
    /// # Errors
    /// [`ObjectError::Url`] if the URL or the settings are invalid.
    pub fn open(url: &str) -> Result<Self, ObjectError> {
        let invalid = |source| ObjectError::Url { url: url.to_owned(), source };
        let parsed = Url::parse(url).map_err(|error| invalid(error.into()))?;
        let settings =
            std::env::vars().filter(|(name, _)| VARIABLES.iter().any(|start| name.starts_with(start)));
        let (store, prefix) = parse_url_opts(&parsed, settings).map_err(|error| invalid(error.into()))?;
        Self::with_store(Arc::from(store), prefix, url)
    }

    /// Creates a bucket from a client and the path of its objects; `url` names it in messages and in the cache.
    ///
    /// # Errors
    /// [`ObjectError::Io`] if the operating system gives no resources.
    pub fn with_store(
        store: Arc<dyn ObjectStore>,
        prefix: ObjectPath,
        url: &str,
    ) -> Result<Self, ObjectError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ObjectError::io(url))?;
        Ok(Self { store, prefix, url: url.trim_end_matches('/').to_owned(), runtime })
    }

    /// Returns the URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a folder in a cache where files for this URL can be prepared, the same every time.
    pub fn work_folder(&self, cache: &Path) -> PathBuf {
        cache.join("work").join(hex(&Sha256::digest(&self.url)))
    }

    /// Returns whether there is an object of this name below the URL.
    ///
    /// # Errors
    /// [`ObjectError::Store`] if the store cannot be accessed.
    pub fn contains(&self, name: &str) -> Result<bool, ObjectError> {
        match self.wait(self.store.head(&self.path(name))) {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(self.error(source)),
        }
    }

    /// Lists the objects, sorted by name.
    pub(crate) fn list(&self) -> Result<Vec<Object>, ObjectError> {
        let listed: Vec<ObjectMeta> = self
            .wait(self.store.list(Some(&self.prefix)).try_collect())
            .map_err(|source| self.error(source))?;
        let listed = match listed.is_empty() {
            false => listed,
            // The URL may be that of one object.
            true => match self.wait(self.store.head(&self.prefix)) {
                Ok(meta) => vec![meta],
                Err(object_store::Error::NotFound { .. }) => Vec::new(),
                Err(source) => return Err(self.error(source)),
            },
        };
        let folders = folders(&listed);
        let mut objects = Vec::with_capacity(listed.len());
        for meta in &listed {
            // Tools create empty objects in the place of folders.
            if meta.size == 0 && (folders.contains(meta.location.as_ref()) || meta.location == self.prefix) {
                continue;
            }
            let name = self.name(meta);
            if !is_portable_path(&name) {
                return Err(ObjectError::Name { url: self.url.clone(), name });
            }
            objects.push(Object { name, meta: meta.clone() });
        }
        if objects.is_empty() {
            return Err(ObjectError::Nothing { url: self.url.clone() });
        }
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// Returns the path of an object below the URL.
    fn name(&self, meta: &ObjectMeta) -> String {
        let path = meta.location.as_ref();
        match path.strip_prefix(self.prefix.as_ref()) {
            // The object itself.
            Some("") => meta.location.filename().unwrap_or_default().to_owned(),
            Some(name) => name.trim_start_matches('/').to_owned(),
            None => path.to_owned(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> ObjectPath {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn error(&self, source: object_store::Error) -> ObjectError {
        ObjectError::Store { url: self.url.clone(), source }
    }
}

/// Returns the paths of all folders of objects.
fn folders(objects: &[ObjectMeta]) -> HashSet<&str> {
    let mut folders = HashSet::new();
    for meta in objects {
        let mut path = meta.location.as_ref();
        while let Some((folder, _)) = path.rsplit_once('/') {
            if !folders.insert(folder) {
                break;
            }
            path = folder;
        }
    }
    folders
}
