//! The folder of a run.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sail_support::{NewFolder, open_locked, read_bounded, remove_temporary_files, write_atomic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::record::Record;
use crate::signature::differences;
use crate::{History, TrainError};

const CONFIG: &str = "config.json";
const HEADS: &str = "heads";

/// Maximum size of a configuration, in bytes.
const MAX_CONFIG: u64 = 16 << 20;

/// The folder that a run keeps its files in.
///
/// | file | what it is |
/// |---|---|
/// | `config.json` | the settings, written first |
/// | `metrics.jsonl` | a line for every step and every evaluation |
/// | `checkpoint.safetensors` | all that a resume needs, replaced as the run goes on |
/// | `best.safetensors` | the head that did best on the holdout |
/// | `heads/step-NNNNNNN.safetensors` | the heads kept in the course of the run |
/// | `head.safetensors` | the head at the end: its presence says that the run is complete |
///
/// One process at a time: the folder is locked for as long as the value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: File,
    resumed: bool,
}

impl RunFolder {
    /// Starts a run: makes the folder, with `config` in it, or nothing at all.
    ///
    /// # Errors
    /// [`TrainError::Exists`] when there is something of that name, and [`TrainError::Io`].
    pub fn create(path: impl AsRef<Path>, config: &impl Serialize) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let config_path = path.join(CONFIG);
        let json = serde_json::to_vec_pretty(config).map_err(TrainError::damaged(&config_path))?;
        let exists_or_io = |error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => TrainError::Exists { path: path.to_owned() },
            _ => TrainError::io(path)(error),
        };
        // A folder without a configuration could be neither resumed nor started again.
        let folder = NewFolder::create(path).map_err(exists_or_io)?;
        write_atomic(&folder.path().join(CONFIG), |out| out.write_all(&json))
            .map_err(TrainError::io(&config_path))?;
        folder.publish().map_err(exists_or_io)?;
        Self::open(path, false)
    }

    /// Opens a run that was cut off, to continue it under the same settings.
    ///
    /// # Errors
    /// [`TrainError::NoRun`], [`TrainError::Changed`] when `config` is not what the run was started with,
    /// [`TrainError::Busy`], [`TrainError::Damaged`] and [`TrainError::Io`].
    pub fn resume<C>(path: impl AsRef<Path>, config: &C) -> Result<Self, TrainError>
    where
        C: Serialize + DeserializeOwned,
    {
        let path = path.as_ref();
        let config_path = path.join(CONFIG);
        if !config_path.is_file() {
            return Err(TrainError::NoRun { path: path.to_owned() });
        }
        let json = read_bounded(&config_path, MAX_CONFIG)
            .map_err(|error| TrainError::io(&config_path)(error.into()))?;
        // Read as the settings that it is and written again, so that one of an earlier version, which lacks what has been
        // added since, compares alike.
        let found: C = serde_json::from_slice(&json).map_err(TrainError::damaged(&config_path))?;
        let value = |config: &C| -> Result<Value, TrainError> {
            let text = serde_json::to_vec(config).map_err(TrainError::damaged(&config_path))?;
            serde_json::from_slice(&text).map_err(TrainError::damaged(&config_path))
        };
        let (found, asked) = (value(&found)?, value(config)?);
        let fields = differences(&found, &asked);
        if !fields.is_empty() {
            return Err(TrainError::Changed { path: path.to_owned(), fields });
        }
        let folder = Self::open(path, true)?;
        folder.sweep()?;
        Ok(folder)
    }

    /// Removes what a killed process was writing. The lock says that it was no other.
    fn sweep(&self) -> Result<(), TrainError> {
        for folder in [self.path.clone(), self.file(HEADS)] {
            if folder.is_dir() {
                remove_temporary_files(&folder).map_err(TrainError::io(&folder))?;
            }
        }
        Ok(())
    }

    fn open(path: &Path, resumed: bool) -> Result<Self, TrainError> {
        let metrics_path = path.join("metrics.jsonl");
        match open_locked(&metrics_path) {
            Ok(metrics) => Ok(Self { path: path.to_owned(), metrics, resumed }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(TrainError::Busy { path: path.to_owned() })
            }
            Err(source) => Err(TrainError::Io { path: metrics_path, source }),
        }
    }

    /// Removes a new folder again; one that was resumed, or has other files, stays.
    pub(crate) fn discard(self) {
        if !self.resumed {
            // Another error is being reported, and what stays behind can be resumed.
            let _ = fs::remove_file(self.file(CONFIG))
                .and_then(|()| fs::remove_file(self.file("metrics.jsonl")))
                .and_then(|()| fs::remove_dir(&self.path));
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.file("checkpoint.safetensors")
    }

    /// True where an earlier process may have left a checkpoint.
    pub(crate) fn resumed(&self) -> bool {
        self.resumed
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, TrainError> {
        let path = self.file(name);
        write_atomic(&path, |out| out.write_all(bytes)).map_err(TrainError::io(&path))?;
        Ok(path)
    }

    /// Keeps the head as it is after some steps.
    pub(crate) fn keep(&self, steps: usize, bytes: &[u8]) -> Result<(), TrainError> {
        let folder = self.file(HEADS);
        fs::create_dir_all(&folder).map_err(TrainError::io(&folder))?;
        self.write(&format!("{HEADS}/step-{steps:07}.safetensors"), bytes).map(drop)
    }

    /// Appends a record to the metrics.
    pub(crate) fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        let path = self.file("metrics.jsonl");
        let mut line = serde_json::to_vec(record).map_err(TrainError::damaged(&path))?;
        line.push(b'\n');
        self.metrics.write_all(&line).map_err(TrainError::io(&path))
    }

    /// Flushes the metrics to the disk and tells their length, which a checkpoint remembers.
    pub(crate) fn sync_metrics(&mut self) -> Result<u64, TrainError> {
        let path = self.file("metrics.jsonl");
        self.metrics.sync_data().map_err(TrainError::io(&path))?;
        self.metrics.stream_position().map_err(TrainError::io(&path))
    }

    /// Drops what was recorded after the checkpoint, and reads what was recorded before it.
    pub(crate) fn rewind_metrics(&mut self, length: u64) -> Result<History, TrainError> {
        let path = self.file("metrics.jsonl");
        let found = self.metrics.metadata().map_err(TrainError::io(&path))?.len();
        if found < length {
            let reason = format!("{found} bytes, expected at least the {length} of the checkpoint");
            return Err(TrainError::Damaged { path, reason });
        }
        self.metrics.set_len(length).map_err(TrainError::io(&path))?;
        self.metrics.rewind().map_err(TrainError::io(&path))?;
        let mut history = History::default();
        for line in BufReader::new(&self.metrics).lines() {
            let line = line.map_err(TrainError::io(&path))?;
            history.push(serde_json::from_str(&line).map_err(TrainError::damaged(&path))?);
        }
        self.metrics.seek(SeekFrom::Start(length)).map_err(TrainError::io(&path))?;
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_resumes_only_under_its_own_settings() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let config = json!({"train": {"epochs": 5, "learning_rate": 1e-4}, "data": "a"});
        let missing = RunFolder::resume(&path, &config).unwrap_err();
        assert!(matches!(missing, TrainError::NoRun { .. }));
        let first = RunFolder::create(&path, &config).unwrap();
        assert!(matches!(RunFolder::create(&path, &config), Err(TrainError::Exists { .. })));
        assert!(matches!(RunFolder::resume(&path, &config), Err(TrainError::Busy { .. })));
        drop(first);
        RunFolder::resume(&path, &config).unwrap();
        let other = json!({"train": {"epochs": 6, "learning_rate": 1e-4}, "data": "a"});
        let error = RunFolder::resume(&path, &other).unwrap_err().to_string();
        assert!(error.ends_with("differ in `train.epochs` (5, now 6)"), "{error}");
    }

    #[test]
    fn half_a_line_after_the_checkpoint_is_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let mut folder = RunFolder::create(&path, &json!({})).unwrap();
        let line = r#"{"step":0,"epoch":0,"loss":0.5,"learning_rate":1e-4,"scale":20.0,"bias":-10.0}"#;
        let step: crate::StepRecord = serde_json::from_str(line).unwrap();
        folder.record(&Record::Step(step)).unwrap();
        let length = folder.sync_metrics().unwrap();
        folder.metrics.write_all(b"{\"step\":1,\"ep").unwrap();
        drop(folder);
        let mut folder = RunFolder::resume(&path, &json!({})).unwrap();
        let history = folder.rewind_metrics(length).unwrap();
        assert_eq!(history.steps, [step]);
        assert_eq!(folder.sync_metrics().unwrap(), length);
        assert!(matches!(folder.rewind_metrics(length + 1), Err(TrainError::Damaged { .. })));
    }
}
