//! Sources and stores in object stores: `s3://`, `gs://`, `az://`.
//!
//! What is read is brought into a cache folder first; what is written, is uploaded when it is complete.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::CliError;

#[cfg(feature = "objects")]
pub(crate) use cloud::ObjectArgs;
#[cfg(feature = "objects")]
use cloud::fetch;
#[cfg(not(feature = "objects"))]
use none::fetch;

/// Returns the local path of a source or of features: `PATH`, `PATH:TENSOR`, or several of them, separated by commas.
pub(crate) fn local(spec: &str) -> Result<Cow<'_, str>, CliError> {
    if !spec.contains("://") {
        return Ok(Cow::Borrowed(spec));
    }
    let one = |spec: &str| match spec.contains("://") {
        false => Ok(spec.to_owned()),
        true => {
            // Not the colon of the scheme.
            let tensor = spec.rsplit_once(':').filter(|(_, tensor)| !tensor.contains('/'));
            let (url, tensor) = tensor.map_or((spec, String::new()), |(url, name)| (url, format!(":{name}")));
            Ok::<_, CliError>(format!("{}{tensor}", fetch(url)?.display()))
        }
    };
    let specs: Vec<String> = spec.split(',').map(one).collect::<Result<_, _>>()?;
    Ok(Cow::Owned(specs.join(",")))
}

/// Where a store is written: a folder, or one in the cache that is uploaded when it is complete.
pub(crate) struct Output {
    folder: PathBuf,
    #[cfg(feature = "objects")]
    bucket: Option<sail_vl::objects::Bucket>,
}

impl Output {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Builds without object stores.
#[cfg(not(feature = "objects"))]
mod none {
    use super::*;

    pub(super) fn fetch(url: &str) -> Result<PathBuf, CliError> {
        Err(CliError::Usage(format!(
            "{url} is not a local path, and this build has no object stores: build it with `--features objects`"
        )))
    }

    impl Output {
        pub(crate) fn new(out: &str, _resume: bool) -> Result<Option<Self>, CliError> {
            let folder = if out.contains("://") { fetch(out)? } else { out.into() };
            Ok(Some(Self { folder }))
        }

        pub(crate) fn finish(&self) -> Result<(), CliError> {
            Ok(())
        }
    }
}

#[cfg(feature = "objects")]
mod cloud {
    use std::sync::{Arc, OnceLock};

    use bytesize::ByteSize;
    use clap::Args;
    use sail_vl::objects::{Bucket, FetchOptions, ProgressFn, is_object_url};

    use super::*;
    use crate::progress;

    /// The file that makes a store complete.
    const MANIFEST: &str = "manifest.json";

    static SETTINGS: OnceLock<ObjectArgs> = OnceLock::new();

    /// Where objects are kept.
    #[derive(Args, Clone, Default)]
    pub(crate) struct ObjectArgs {
        /// Folder for what is read from and written to object stores [default: `sail/objects` in the user's cache folder].
        #[arg(long, global = true, value_name = "FOLDER", env = "SAIL_OBJECT_CACHE", hide_env_values = true)]
        object_cache: Option<PathBuf>,
        /// Largest source or store that is brought into this folder, such as 500GB [default: no limit].
        #[arg(long, global = true, value_name = "SIZE", env = "SAIL_OBJECT_LIMIT", hide_env_values = true)]
        object_limit: Option<ByteSize>,
    }

    impl ObjectArgs {
        /// Applies them to the whole process.
        pub(crate) fn apply(&self) {
            let _ = SETTINGS.set(self.clone());
        }
    }

    fn options(url: &str) -> Result<FetchOptions, CliError> {
        if !is_object_url(url) {
            let message =
                format!("{url} is neither a local path nor in an object store (`s3://`, `gs://`, `az://`)");
            return Err(CliError::Usage(message));
        }
        let settings = SETTINGS.get().cloned().unwrap_or_default();
        let default = || dirs::cache_dir().map(|folder| folder.join("sail").join("objects"));
        let cache = settings.object_cache.or_else(default).ok_or_else(|| {
            CliError::Usage("this platform has no cache folder: name a folder with `--object-cache`".into())
        })?;
        let max_bytes = settings.object_limit.map_or(u64::MAX, |limit| limit.as_u64());
        Ok(FetchOptions { max_bytes, progress: Some(bar(url)), ..FetchOptions::new(cache) })
    }

    fn bar(url: &str) -> ProgressFn {
        let bar = progress::bar(0, url, progress::BYTES);
        Arc::new(move |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            if progress.done == progress.total {
                bar.finish_and_clear();
            }
        })
    }

    pub(super) fn fetch(url: &str) -> Result<PathBuf, CliError> {
        let options = options(url)?;
        Ok(Bucket::open(url)?.fetch(&options)?)
    }

    impl Output {
        /// Returns `None` if there is nothing left to resume.
        pub(crate) fn new(out: &str, resume: bool) -> Result<Option<Self>, CliError> {
            if !out.contains("://") {
                return Ok(Some(Self { folder: out.into(), bucket: None }));
            }
            let options = options(out)?;
            let bucket = Bucket::open(out)?;
            match bucket.contains(MANIFEST)? {
                true if resume => Ok(None),
                true => Err(CliError::Usage(format!("{out} exists: choose another URL"))),
                false => Ok(Some(Self { folder: bucket.work_folder(&options.cache), bucket: Some(bucket) })),
            }
        }

        /// Uploads a complete store.
        pub(crate) fn finish(&self) -> Result<(), CliError> {
            let Some(bucket) = &self.bucket else { return Ok(()) };
            bucket.upload(&self.folder, MANIFEST, Some(&bar(bucket.url())))?;
            // The upload is complete; a folder that cannot be removed only takes space.
            let _ = std::fs::remove_dir_all(&self.folder);
            Ok(())
        }
    }
}
