//! Uploads of finished folders.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt;

use crate::ObjectError;
use crate::bucket::Bucket;
use crate::cache::ProgressFn;
use sail_support::Progress;

/// The length of the parts of large files.
const PART: usize = 8 << 20;

impl Bucket {
    /// Uploads the files of a folder, which has no folders, with `last` as the last one: it appears when the others are
    /// complete, as the manifest of an embedding store must.
    ///
    /// # Errors
    /// [`ObjectError`] if a file cannot be read or uploaded. Uploading again repeats it from the beginning.
    pub fn upload(
        &self,
        folder: &Path,
        last: &str,
        progress: Option<&ProgressFn>,
    ) -> Result<(), ObjectError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(ObjectError::io(folder))? {
            let entry = entry.map_err(ObjectError::io(folder))?;
            let metadata = entry.metadata().map_err(ObjectError::io(entry.path()))?;
            if metadata.is_file() {
                files.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
            }
        }
        files.sort_by_key(|(name, _)| (name == last, name.clone()));
        let total = files.iter().map(|(_, bytes)| bytes).sum();
        let mut sent = 0;
        for (name, _) in &files {
            let path = folder.join(name);
            self.wait(self.upload_file(&path, name, &mut |bytes| {
                sent += bytes;
                if let Some(progress) = progress {
                    progress(Progress { done: sent, total, unit: "bytes" });
                }
            }))?;
        }
        Ok(())
    }

    async fn upload_file(
        &self,
        path: &Path,
        name: &str,
        report: &mut dyn FnMut(u64),
    ) -> Result<(), ObjectError> {
        let mut file = File::open(path).map_err(ObjectError::io(path))?;
        let mut out = BufWriter::with_capacity(self.store.clone(), self.path(name), PART);
        loop {
            let mut part = Vec::new();
            file.by_ref().take(PART as u64).read_to_end(&mut part).map_err(ObjectError::io(path))?;
            if part.is_empty() {
                break;
            }
            let bytes = part.len() as u64;
            out.put(Bytes::from(part)).await.map_err(|source| self.error(source))?;
            report(bytes);
        }
        // Small files are sent, and large ones appear, here.
        out.shutdown().await.map_err(|source| {
            self.error(object_store::Error::Generic { store: "upload", source: source.into() })
        })
    }
}
