//! The output folder: a store, and next to it the files of the extraction.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use sail_core::Check;
use sail_data::source::PassedOver;
use sail_support::{NewFolder, is_vacant, write_atomic};

use crate::error::ExtractError;
use crate::job::{JOB, Job};
use crate::options::ExtractOptions;
use crate::skipped::{SKIPPED, SkipLog};

/// The files of the source that were passed over, if there are any.
pub(crate) const PASSED_OVER: &str = "passed_over.json";

impl ExtractOptions {
    /// Returns whether an extraction into `out` continues an earlier one.
    pub(crate) fn continues(&self, out: &Path) -> bool {
        self.resume && !is_vacant(out)
    }

    /// Checks whether an extraction into `out` can start or resume. The extraction does so itself; call this before
    /// loading a model for it.
    ///
    /// # Errors
    /// [`ExtractError::Config`], [`ExtractError::Exists`] and [`ExtractError::NothingToResume`].
    pub fn check_output(&self, out: &Path) -> Result<(), ExtractError> {
        self.check()?;
        match self.resume {
            true if !is_vacant(out) && !out.join(JOB).is_file() => {
                Err(ExtractError::NothingToResume { path: out.to_owned() })
            }
            false if out.exists() => Err(ExtractError::Exists { path: out.to_owned() }),
            _ => Ok(()),
        }
    }
}

/// Starts the folder of a new store, which appears with its `encode.json` or not at all.
pub(crate) fn new(path: &Path) -> Result<NewFolder<'_>, ExtractError> {
    NewFolder::create(path).map_err(exists_or_io(path))
}

/// Gives a new folder its name.
pub(crate) fn publish(folder: NewFolder<'_>, path: &Path) -> Result<(), ExtractError> {
    folder.publish().map_err(exists_or_io(path))
}

fn exists_or_io(path: &Path) -> impl FnOnce(std::io::Error) -> ExtractError {
    move |error| match error.kind() {
        ErrorKind::AlreadyExists => ExtractError::Exists { path: path.to_owned() },
        _ => ExtractError::io(path)(error),
    }
}

/// Creates the folder of an extraction before its first row.
pub(crate) fn create(
    path: &Path,
    job: &Job,
    options: &ExtractOptions,
    passed_over: &PassedOver,
) -> Result<SkipLog, ExtractError> {
    if options.resume {
        // Only an empty folder can be removed; creating it reports any other.
        let _ = std::fs::remove_dir(path);
    }
    let folder = new(path)?;
    job.write(folder.path())?;
    if !passed_over.is_empty() {
        let file = folder.path().join(PASSED_OVER);
        write_atomic(&file, |out| {
            serde_json::to_writer_pretty(&mut *out, passed_over)?;
            out.write_all(b"\n")
        })
        .map_err(ExtractError::io(&file))?;
    }
    let skipped = folder.path().join(SKIPPED);
    File::create_new(&skipped).map_err(ExtractError::io(&skipped))?;
    publish(folder, path)?;
    SkipLog::open(path)
}

/// Opens the folder of an interrupted extraction, which must have the same settings. The path of the source may be spelled
/// in another way.
pub(crate) fn resume(path: &Path, job: &Job) -> Result<SkipLog, ExtractError> {
    let found = Job::read(path)?;
    let mut differences = found.differences(job);
    differences.retain(|(field, ..)| field != "source" || !found.has_source_of(job));
    if !differences.is_empty() {
        let fields = differences.into_iter().map(|(field, was, now)| format!("`{field}` ({was}, now {now})"));
        return Err(ExtractError::Changed { path: path.to_owned(), fields: fields.collect() });
    }
    SkipLog::open(path)
}
