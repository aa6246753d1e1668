//! The parts of a probe, stored as soon as they are finished.

use std::path::Path;

use sail_support::{read_bounded, write_atomic};
use sail_train::{Interrupter, RunFolder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ProbeError;

/// Maximum length of a file.
const MAX_BYTES: u64 = 64 << 20;

/// Progress of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Description of the current part.
    pub part: &'a str,
    /// Number of finished parts.
    pub done: usize,
    /// Number of parts: every labelled set, and the measures and the training of every pair.
    pub parts: usize,
}

/// Runs the parts of a probe, or loads those that an earlier run has stored.
pub(crate) struct Parts<'a> {
    folder: Option<&'a RunFolder>,
    interrupter: &'a Interrupter,
    done: usize,
    parts: usize,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(folder: Option<&'a RunFolder>, interrupter: &'a Interrupter, parts: usize) -> Self {
        Self { folder, interrupter, done: 0, parts }
    }

    pub(crate) fn progress<'b>(&self, part: &'b str) -> Progress<'b> {
        Progress { part, done: self.done, parts: self.parts }
    }

    /// Loads a part from its file, or computes and stores it. `compute` returns `None` if it was interrupted.
    pub(crate) fn run<T: Serialize + DeserializeOwned>(
        &mut self,
        file: &str,
        compute: impl FnOnce() -> Result<Option<T>, ProbeError>,
    ) -> Result<T, ProbeError> {
        let path = self.folder.map(|folder| folder.file(file));
        let part = match &path {
            Some(path) if path.exists() => load(path)?,
            _ => {
                let interrupted = ProbeError::Interrupted { done: self.done, parts: self.parts };
                if self.interrupter.is_stopped() {
                    return Err(interrupted);
                }
                let part = compute()?.ok_or(interrupted)?;
                if let Some(path) = path {
                    write_atomic(&path, |out| Ok(serde_json::to_writer(out, &part)?))
                        .map_err(|source| ProbeError::Io { path, source })?;
                }
                part
            }
        };
        self.done += 1;
        Ok(part)
    }

    /// The error of a part whose content is not that of this probe.
    pub(crate) fn damaged(&self, file: &str, reason: &str) -> ProbeError {
        let path = self.folder.map_or_else(|| file.into(), |folder| folder.file(file));
        ProbeError::Damaged { path, reason: reason.to_owned() }
    }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ProbeError> {
    let json = read_bounded(path, MAX_BYTES)
        .map_err(|error| ProbeError::Read { path: path.to_owned(), source: error.into() })?;
    let damaged =
        |error: serde_json::Error| ProbeError::Damaged { path: path.to_owned(), reason: error.to_string() };
    serde_json::from_slice(&json).map_err(damaged)
}
