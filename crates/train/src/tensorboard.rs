//! TensorBoard event files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::SystemTime;

use tfrecord::{EventWriter, EventWriterConfig};

use crate::{EvaluationRecord, Event, Observer, StepRecord, TrainError};

/// An [`Observer`] that writes the metrics of a run to an event file for `tensorboard --logdir FOLDER`.
///
/// A resumed run writes another file to the folder. TensorBoard combines them.
pub struct TensorBoard {
    writer: EventWriter<BufWriter<File>>,
    failed: bool,
}

impl TensorBoard {
    /// Creates an event file in a folder, which is created if it is missing.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be created.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self, TrainError> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        // TensorBoard reads the files of a folder in the order of their names.
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("events.out.tfevents.{:010}.{}", time.as_secs(), std::process::id());
        let path = folder.join(name);
        let writer = EventWriter::create(&path, EventWriterConfig { auto_flush: false })
            .map_err(|error| TrainError::io(&path)(std::io::Error::other(error)))?;
        Ok(Self { writer, failed: false })
    }

    /// Writes values by tag. A failure must not stop a run, so nothing more is written after an error.
    fn write(&mut self, step: usize, values: impl IntoIterator<Item = (String, Option<f64>)>) {
        for (tag, value) in values {
            if let Some(value) = value.filter(|_| !self.failed) {
                self.failed = self.writer.write_scalar(&tag, step as i64, value as f32).is_err();
            }
        }
    }

    fn step(&mut self, record: &StepRecord) {
        let (statistics, pairs) = (record.statistics, record.statistics.and_then(|found| found.pairs));
        let values = [
            ("train/loss", Some(record.loss)),
            ("train/learning_rate", Some(record.learning_rate)),
            ("train/logit_scale", Some(record.scale)),
            ("train/logit_bias", Some(record.bias)),
            ("train/gradient_norm", record.gradient_norm),
            ("train/positive_loss", pairs.map(|pairs| pairs.positive_loss)),
            ("train/negative_loss", pairs.map(|pairs| pairs.negative_loss)),
            ("train/positive_accuracy", pairs.map(|pairs| pairs.positive_accuracy)),
            ("train/negative_accuracy", pairs.map(|pairs| pairs.negative_accuracy)),
            ("system/pairs_per_second", statistics.map(|found| found.pairs_per_second)),
            ("system/memory_bytes", statistics.and_then(|found| found.memory).map(|bytes| bytes as f64)),
        ];
        let auxiliary = record.auxiliary.iter().map(|(name, value)| (format!("train/{name}"), Some(*value)));
        let values = values.into_iter().map(|(tag, value)| (tag.to_owned(), value));
        self.write(record.step, values.chain(auxiliary));
    }

    fn evaluation(&mut self, record: &EvaluationRecord) {
        let mut values = vec![
            ("holdout/loss".to_owned(), record.loss),
            ("holdout/score".to_owned(), Some(record.score())),
        ];
        for (direction, scores) in
            record.holdout.iter().flat_map(|found| [("i2t", &found.i2t), ("t2i", &found.t2i)])
        {
            for (k, recall) in [(1, scores.r1), (5, scores.r5), (10, scores.r10)] {
                values.push((format!("holdout/{direction}_recall@{k}"), Some(recall)));
            }
        }
        values.extend(record.metrics.iter().map(|(name, value)| (format!("holdout/{name}"), Some(*value))));
        self.write(record.steps, values);
    }
}

impl<H> Observer<H> for TensorBoard {
    fn observe(&mut self, event: Event<'_>, _: &H) {
        match event {
            Event::Step(record) => self.step(record),
            Event::Evaluated(record) => self.evaluation(record),
            // Flushed with each checkpoint, so that an interruption loses no events before it.
            Event::Saved { .. } | Event::Finished => self.failed |= self.writer.flush().is_err(),
            Event::Started { .. } => {}
        }
    }
}

impl std::fmt::Debug for TensorBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TensorBoard")
    }
}
