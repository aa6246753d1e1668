//! The output folder: a store, and beside it what the extraction must remember.

use std::fs::{self, File};
use std::path::Path;

use crate::ExtractError;
use crate::job::{JOB, Job};
use crate::skipped::{SKIPPED, SkipLog};

/// Says before any work whether there is what there must be.
pub(crate) fn check(path: &Path, resume: bool) -> Result<(), ExtractError> {
    if resume && !path.join(JOB).is_file() {
        return Err(ExtractError::NothingToResume { path: path.to_owned() });
    }
    if !resume && path.exists() {
        return Err(ExtractError::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Makes the folder with what is known before the first row, or nothing at all.
pub(crate) fn create(path: &Path, job: &Job) -> Result<SkipLog, ExtractError> {
    let draft = Draft::beside(path)?;
    let folder = draft.path();
    job.write(folder)?;
    let skipped = folder.join(SKIPPED);
    File::create_new(&skipped).map_err(ExtractError::io(&skipped))?;
    draft.keep()?;
    SkipLog::open(path)
}

/// Opens the folder of an extraction that was cut off, to continue it under the same settings.
pub(crate) fn resume(path: &Path, job: &Job) -> Result<SkipLog, ExtractError> {
    let differences = Job::read(path)?.differences(job);
    if !differences.is_empty() {
        let fields = differences.into_iter().map(|(field, was, now)| format!("`{field}` ({was}, now {now})"));
        return Err(ExtractError::Changed { path: path.to_owned(), fields: fields.collect() });
    }
    SkipLog::open(path)
}

/// A folder under another name, removed unless it is kept.
pub(crate) struct Draft<'a> {
    folder: tempfile::TempDir,
    path: &'a Path,
}

impl<'a> Draft<'a> {
    /// Makes the parents of `path`, and an empty folder beside it.
    pub(crate) fn beside(path: &'a Path) -> Result<Self, ExtractError> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(ExtractError::io(parent))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tmp-");
        // A temporary folder is private by default; a store is as readable as any other new folder.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        Ok(Self { folder: builder.tempdir_in(parent).map_err(ExtractError::io(path))?, path })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name.
    pub(crate) fn keep(self) -> Result<(), ExtractError> {
        if self.path.exists() {
            return Err(ExtractError::Exists { path: self.path.to_owned() });
        }
        fs::rename(self.folder.path(), self.path).map_err(ExtractError::io(self.path))?;
        // It has its name and is nobody's to remove any more.
        let _ = self.folder.keep();
        Ok(())
    }
}
