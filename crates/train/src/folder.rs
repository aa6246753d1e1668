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

/// The folder with the files of a run.
///
/// | file | content |
/// |---|---|
/// | `config.json` | the settings, written first |
/// | `metrics.jsonl` | one line per step and evaluation |
/// | `checkpoint.safetensors` | the latest checkpoint |
/// | `best.safetensors` | the head with the best score |
/// | `heads/step-NNNNNNN.safetensors` | copies of the head during the run |
/// | `head.safetensors` | the final head; its presence marks a complete run |
///
/// The folder is locked until the value is dropped, so only one process can use it at a time.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: File,
    resumed: bool,
}

impl RunFolder {
    /// Creates the folder of a new run and writes `config` to it. On failure, the folder is removed.
    ///
    /// # Errors
    /// Returns [`TrainError::Exists`] if the path exists, and [`TrainError::Io`].
    pub fn create(path: impl AsRef<Path>, config: &impl Serialize) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let config_path = path.join(CONFIG);
        let json = serde_json::to_vec_pretty(config).map_err(TrainError::damaged(&config_path))?;
        let exists_or_io = |error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => TrainError::Exists { path: path.to_owned() },
            _ => TrainError::io(path)(error),
        };
        // A folder without a configuration could neither be resumed nor created again.
        let folder = NewFolder::create(path).map_err(exists_or_io)?;
        write_atomic(&folder.path().join(CONFIG), |out| out.write_all(&json))
            .map_err(TrainError::io(&config_path))?;
        folder.publish().map_err(exists_or_io)?;
        Self::open(path, false)
    }

    /// Reads the settings of the run in a folder.
    ///
    /// # Errors
    /// Returns [`TrainError::NoRun`] if there is no run, [`TrainError::Damaged`] and [`TrainError::Io`].
    pub fn config<C: DeserializeOwned>(path: impl AsRef<Path>) -> Result<C, TrainError> {
        let path = path.as_ref();
        let config_path = path.join(CONFIG);
        if !config_path.is_file() {
            return Err(TrainError::NoRun { path: path.to_owned() });
        }
        let json = read_bounded(&config_path, MAX_CONFIG)
            .map_err(|error| TrainError::io(&config_path)(error.into()))?;
        serde_json::from_slice(&json).map_err(TrainError::damaged(&config_path))
    }

    /// Opens the folder of an interrupted run, to resume it with the same settings.
    ///
    /// # Errors
    /// Returns [`TrainError::NoRun`] if there is no run, [`TrainError::Changed`] if `config` differs from that of the
    /// run, [`TrainError::Busy`] if another process uses the folder, [`TrainError::Damaged`] and [`TrainError::Io`].
    pub fn resume<C>(path: impl AsRef<Path>, config: &C) -> Result<Self, TrainError>
    where
        C: Serialize + DeserializeOwned,
    {
        let path = path.as_ref();
        let config_path = path.join(CONFIG);
        // Parsed and serialized again, so that fields that an earlier version did not have compare by their defaults.
        let found: C = Self::config(path)?;
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

    /// Removes temporary files of a killed process. The lock ensures that no other process is writing.
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

    /// Removes a new folder. A resumed folder, or one with other files, is kept.
    pub(crate) fn discard(self) {
        if !self.resumed {
            // Errors are ignored, because another error is reported and a remaining folder can be resumed.
            let _ = fs::remove_file(self.file(CONFIG))
                .and_then(|()| fs::remove_file(self.file("metrics.jsonl")))
                .and_then(|()| fs::remove_dir(&self.path));
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.file("checkpoint.safetensors")
    }

    /// Returns `true` if the folder was opened with [`resume`](Self::resume).
    pub(crate) fn resumed(&self) -> bool {
        self.resumed
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, TrainError> {
        let path = self.file(name);
        write_atomic(&path, |out| out.write_all(bytes)).map_err(TrainError::io(&path))?;
        Ok(path)
    }

    /// Saves a copy of the head after the given number of steps.
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

    /// Flushes the metrics to disk and returns their length, which is recorded in the checkpoint.
    pub(crate) fn sync_metrics(&mut self) -> Result<u64, TrainError> {
        let path = self.file("metrics.jsonl");
        self.metrics.sync_data().map_err(TrainError::io(&path))?;
        self.metrics.stream_position().map_err(TrainError::io(&path))
    }

    /// Truncates the metrics to the length recorded in the checkpoint, and reads them.
    pub(crate) fn rewind_metrics(&mut self, length: u64) -> Result<History, TrainError> {
        let path = self.file("metrics.jsonl");
        let found = self.metrics.metadata().map_err(TrainError::io(&path))?.len();
        if found < length {
            let reason = format!("{found} bytes, expected at least {length} as recorded in the checkpoint");
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
    fn rejects_resume_with_other_settings() {
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
    fn truncates_a_partial_line_after_the_checkpoint() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let mut folder = RunFolder::create(&path, &json!({})).unwrap();
        let line = r#"{"step":0,"epoch":0,"loss":0.5,"learning_rate":1e-4,"scale":20.0,"bias":-10.0}"#;
        let step: crate::StepRecord = serde_json::from_str(line).unwrap();
        folder.record(&Record::Step(step.clone())).unwrap();
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
