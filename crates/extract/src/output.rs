//! One store of an extraction, and the files beside it.

use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, TowerError};
use sail_data::source::PassedOver;
use sail_data::{DataError, EmbeddingStore, StoreConfig, StoreWriter};

use crate::block::{Block, Rows};
use crate::error::ExtractError;
use crate::folder;
use crate::job::Job;
use crate::options::ExtractOptions;
use crate::skipped::{SKIPPED, SkipLog};

/// A store that is being written.
pub(crate) struct Output {
    path: PathBuf,
    pub(crate) job: Job,
    pub(crate) skips: SkipLog,
    /// Created with the first row, which has the embedding dimension.
    pub(crate) writer: Option<StoreWriter>,
    /// The first record that is not part of it.
    pub(crate) position: u64,
    /// Rows that existed when it was opened.
    existing: u64,
}

/// A finished store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) rows: u64,
    pub(crate) skipped: u64,
    pub(crate) dim: usize,
    /// Rows that this call embedded.
    pub(crate) embedded: u64,
}

/// A store in one of its states.
pub(crate) enum Opened {
    Unfinished(Box<Output>),
    Finished(Finished),
}

impl Output {
    /// Creates the folder of a store, or continues it if the options say so.
    pub(crate) fn open(
        path: &Path,
        job: Job,
        options: &ExtractOptions,
        passed_over: &PassedOver,
    ) -> Result<Opened, ExtractError> {
        if !options.continues(path) {
            let skips = folder::create(path, &job, options, passed_over)?;
            return Self::at(path, job, skips, None).map(|output| Opened::Unfinished(Box::new(output)));
        }
        let mut skips = folder::resume(path, &job)?;
        let writer = match StoreWriter::reopen(path, job.rows_per_shard) {
            Ok(writer) => Some(writer),
            // There are no rows yet.
            Err(DataError::NotAStore { .. }) => None,
            // The store is complete.
            Err(DataError::Exists { .. }) => {
                let store = EmbeddingStore::open(path)?;
                let (rows, dim) = (store.rows() as u64, store.dim());
                return Ok(Opened::Finished(Finished { rows, skipped: skips.count()?, dim, embedded: 0 }));
            }
            Err(error) => return Err(error.into()),
        };
        Self::at(path, job, skips, writer).map(|output| Opened::Unfinished(Box::new(output)))
    }

    /// Continues at the position of the writer.
    fn at(
        path: &Path,
        job: Job,
        mut skips: SkipLog,
        writer: Option<StoreWriter>,
    ) -> Result<Self, ExtractError> {
        let range = job.range();
        let position = writer.as_ref().map_or(range.start, StoreWriter::position);
        let rows = writer.as_ref().map_or(0, StoreWriter::rows) as u64;
        // Every record has a row or a line.
        let lines = position.checked_sub(range.start).and_then(|done| done.checked_sub(rows));
        let Some(lines) = lines.filter(|_| position <= range.end) else {
            let reason =
                format!("{rows} rows at position {position} are inconsistent with the range {range:?}");
            return Err(ExtractError::Damaged { path: path.join("partial.json"), reason });
        };
        skips.keep(lines)?;
        Ok(Self { path: path.to_owned(), job, skips, writer, position, existing: rows })
    }

    /// The keys of the last row and the last skipped record.
    pub(crate) fn last_keys(&self) -> Result<[Option<String>; 2], ExtractError> {
        let row = self.writer.as_ref().and_then(|writer| writer.resumed_keys().next_back());
        let row = row.transpose().map_err(DataError::from)?;
        Ok([row, self.skips.last().map(|skipped| skipped.key.clone())])
    }

    fn rows(&self) -> u64 {
        self.writer.as_ref().map_or(0, StoreWriter::rows) as u64
    }

    /// Appends the rows of a block and the lines of its skipped records, unless it has them.
    pub(crate) fn record(
        &mut self,
        Block { next, keys, skipped }: &Block,
        rows: Result<Rows, TowerError>,
    ) -> Result<(), ExtractError> {
        if self.position >= *next {
            return Ok(());
        }
        let rows = match (keys.first(), keys.last(), rows) {
            (Some(first), Some(last), Err(source)) => {
                return Err(ExtractError::Tower { first: first.clone(), last: last.clone(), source });
            }
            (Some(first), _, Ok(rows)) if rows.len() != keys.len() => {
                let (found, expected) = (rows.len(), keys.len());
                return Err(ExtractError::RowCount { first: first.clone(), found, expected });
            }
            (.., rows) => rows.unwrap_or_default(),
        };
        self.skips.add(skipped)?;
        self.append(keys.iter().cloned().zip(rows).collect(), *next)?;
        self.position = *next;
        Ok(())
    }

    /// Appends the rows of a block to the store, which is created with the first one.
    fn append(&mut self, rows: Vec<(String, Vec<f32>)>, position: u64) -> Result<(), ExtractError> {
        let writer = match (&mut self.writer, rows.first()) {
            (Some(writer), _) => writer,
            (none, Some((_, row))) => {
                let config = StoreConfig {
                    dtype: self.job.dtype,
                    rows_per_shard: self.job.rows_per_shard,
                    ..StoreConfig::new(self.job.modality, self.job.provenance.clone(), row.len())
                };
                none.insert(StoreWriter::create_beside(&self.path, config)?)
            }
            (None, None) => return Ok(()),
        };
        Ok(writer.append(&rows, position)?)
    }

    /// Saves the work so far: the skipped records before the state that counts them.
    pub(crate) fn save(&mut self) -> Result<(), ExtractError> {
        self.skips.sync()?;
        match &mut self.writer {
            Some(writer) => Ok(writer.save()?),
            None => Ok(()),
        }
    }

    /// Completes the store.
    pub(crate) fn finish(mut self) -> Result<Finished, ExtractError> {
        let (rows, skipped) = (self.rows(), self.skips.lines());
        self.skips.sync()?;
        match self.writer {
            Some(writer) => {
                let dim = writer.dim();
                writer.close()?;
                Ok(Finished { rows, skipped, dim, embedded: rows - self.existing })
            }
            None => {
                let range = self.job.range();
                let path = self.path.join(SKIPPED);
                Err(ExtractError::AllSkipped { records: range.end - range.start, path })
            }
        }
    }
}
