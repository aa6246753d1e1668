//! The extraction of any kind of records.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use sail_core::{FeatureSource, Modality, Progress, Provenance, TowerError};
use sail_data::source::{Record, RecordSource};
use sail_data::{DataError, EmbeddingStore, StoreConfig, StoreWriter};
use sail_support::KeyTable;

use crate::error::ExtractError;
use crate::folder;
use crate::job::Job;
use crate::observer::{Event, Observer};
use crate::options::ExtractOptions;
use crate::prepare::{Ahead, Prepared, prepare_ahead, prepare_records};
use crate::skipped::{SKIPPED, SkipLog, Skipped};

/// The result of an extraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extraction {
    /// Number of rows in the store.
    pub rows: u64,
    /// Number of skipped records.
    pub skipped: u64,
    /// Embedding dimension.
    pub dim: usize,
    /// Number of rows that this call embedded; the others existed when it resumed.
    pub embedded: u64,
    /// Duration of this call in seconds.
    pub seconds: f64,
}

/// The differences between images and texts.
pub(crate) struct Task<'a, T, P> {
    pub(crate) modality: Modality,
    pub(crate) provenance: Provenance,
    /// Number of records that a thread preprocesses at once.
    pub(crate) chunk: usize,
    /// What is done ahead of the preprocessing, on other threads.
    pub(crate) fetch: Option<Fetch<'a, T>>,
    /// Converts a record to the input of the tower, or returns the reason why it is skipped.
    pub(crate) prepare: &'a (dyn Fn(T) -> Result<P, String> + Sync),
    /// Number of towers, each on a device of its own.
    pub(crate) towers: usize,
    /// Embeds inputs with the tower of this index, with one row per input.
    pub(crate) embed: &'a (dyn Fn(usize, Vec<P>) -> Result<Rows, TowerError> + Sync),
}

/// The rows of a block.
pub(crate) type Rows = Vec<Vec<f32>>;

/// A stage before the preprocessing that waits more than it computes.
pub(crate) struct Fetch<'a, T> {
    pub(crate) ahead: &'a Ahead,
    pub(crate) fetch: &'a (dyn Fn(T) -> Result<T, String> + Sync),
}

/// Returns the first of several towers and the provenance of all.
pub(crate) fn common<T>(
    towers: &[T],
    provenance: impl Fn(&T) -> Provenance,
) -> Result<(&T, Provenance), ExtractError> {
    let first = towers.first().ok_or(ExtractError::Towers { found: "none".to_owned() })?;
    let expected = provenance(first);
    match towers.iter().map(&provenance).find(|other| *other != expected) {
        None => Ok((first, expected)),
        Some(other) => Err(ExtractError::Towers { found: format!("{expected}, and {other}") }),
    }
}

pub(crate) fn run<T: Send, P: Send>(
    task: &Task<'_, T, P>,
    source: &dyn RecordSource<T>,
    out: &Path,
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Extraction, ExtractError> {
    let begun = Instant::now();
    let _span = tracing::info_span!("extract", modality = %task.modality, out = %out.display()).entered();
    options.check_output(out)?;
    let count = source.count().map_err(ExtractError::Source)?;
    let records = options.limit.map_or(count, |limit| limit.min(count));
    let job = Job::new(task.modality, task.provenance.clone(), records, options);
    let passed_over = source.passed_over().map_err(ExtractError::Source)?;
    if records == 0 {
        return Err(ExtractError::NoRecords { passed_over });
    }
    if job.range().is_empty() {
        let (part, block, blocks) = (options.part, options.block, records.div_ceil(job.block));
        return Err(ExtractError::EmptyPart { part, records, blocks, block });
    }
    let continues = options.continues(out);
    let mut skips = match continues {
        true => folder::resume(out, &job)?,
        false => folder::create(out, &job, options, &passed_over)?,
    };
    let writer = match continues {
        false => None,
        true => match StoreWriter::reopen(out, job.rows_per_shard) {
            Ok(writer) => Some(writer),
            // There are no rows yet.
            Err(DataError::NotAStore { .. }) => None,
            // The store is complete.
            Err(DataError::Exists { .. }) => {
                let store = EmbeddingStore::open(out)?;
                let (rows, dim) = (store.rows() as u64, store.dim());
                let skipped = skips.count()?;
                let done = rows + skipped;
                observer.observe(progress(done, done));
                let seconds = begun.elapsed().as_secs_f64();
                return Ok(Extraction { rows, skipped, dim, embedded: 0, seconds });
            }
            Err(error) => return Err(error.into()),
        },
    };
    let mut session = Session::open(out, job, skips, writer, options)?;
    session.check_source(source)?;
    let before = session.rows();
    observer.observe(progress(session.done(), session.records()));
    let ahead = Ahead {
        threads: options.threads,
        chunk: task.chunk,
        records: (task.towers + 1) * options.block + options.threads,
    };
    let range = session.position..session.end;
    let consume = |records: &mut Prepared<'_, P>| {
        loop {
            // A block per tower. The blocks do not depend on the number of towers, and so neither do the rows.
            let mut blocks = Vec::with_capacity(task.towers);
            for _ in 0..task.towers {
                let block = records.take(options.block).collect::<Result<Vec<_>, _>>();
                blocks.push(block.map_err(ExtractError::Source)?);
            }
            blocks.retain(|block| !block.is_empty());
            if blocks.is_empty() {
                return Ok(());
            }
            let stop = || options.stop.load(Ordering::Relaxed);
            // A stop may be the reason why images of these blocks were not fetched.
            if !stop() {
                session.embed(blocks, task, observer)?;
            }
            if session.position < session.end && stop() {
                session.save()?;
                return Err(ExtractError::Stopped { done: session.done(), records: session.records() });
            }
        }
    };
    match &task.fetch {
        None => prepare_ahead(source, range, &ahead, task.prepare, consume),
        Some(Fetch { ahead: first, fetch }) => prepare_ahead(source, range, first, fetch, |records| {
            prepare_records(|| Ok(records), &ahead, task.prepare, consume)
        }),
    }?;
    let (rows, skipped) = (session.rows(), session.skips.lines());
    let dim = session.finish()?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Extraction { rows, skipped, dim, embedded: rows - before, seconds })
}

fn progress(done: u64, total: u64) -> Event<'static> {
    Event::Progress(Progress { done, total, unit: "records" })
}

/// A block of records whose usable ones are embedded.
struct Block {
    /// The position after it.
    next: u64,
    /// The keys of the usable records.
    keys: Vec<String>,
    skipped: Vec<Skipped>,
}

/// Embeds the inputs of several blocks at once, each with a tower of its own.
fn embed_all<T, P: Send>(task: &Task<'_, T, P>, inputs: Vec<Vec<P>>) -> Vec<Result<Rows, TowerError>> {
    let embed = |(tower, inputs): (usize, Vec<P>)| match inputs.is_empty() {
        true => Ok(Vec::new()),
        false => (task.embed)(tower, inputs),
    };
    let mut inputs = inputs.into_iter().enumerate();
    // The first on this thread, which with one tower is all.
    let Some(first) = inputs.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let others: Vec<_> = inputs.map(|block| scope.spawn(move || embed(block))).collect();
        let mut rows = vec![embed(first)];
        for other in others {
            rows.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        rows
    })
}

/// An extraction in progress.
struct Session<'a> {
    out: PathBuf,
    job: Job,
    options: &'a ExtractOptions,
    skips: SkipLog,
    /// Created with the first row, which has the embedding dimension.
    writer: Option<StoreWriter>,
    /// The keys of the rows so far, if they must be unique.
    keys: Option<KeyTable<()>>,
    start: u64,
    position: u64,
    end: u64,
    saved: Instant,
}

impl<'a> Session<'a> {
    /// Continues at the position of the writer.
    fn open(
        out: &Path,
        job: Job,
        mut skips: SkipLog,
        writer: Option<StoreWriter>,
        options: &'a ExtractOptions,
    ) -> Result<Self, ExtractError> {
        let range = job.range();
        let position = writer.as_ref().map_or(range.start, StoreWriter::position);
        let rows = writer.as_ref().map_or(0, StoreWriter::rows) as u64;
        // Every record has a row or a line.
        let lines = position.checked_sub(range.start).and_then(|done| done.checked_sub(rows));
        let Some(lines) = lines.filter(|_| position <= range.end) else {
            let reason =
                format!("{rows} rows at position {position} are inconsistent with the range {range:?}");
            return Err(ExtractError::Damaged { path: out.join("partial.json"), reason });
        };
        skips.keep(lines)?;
        let keys = match job.modality {
            Modality::Image => {
                let records = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let mut keys = KeyTable::with_capacity(records);
                for key in writer.iter().flat_map(StoreWriter::resumed_keys) {
                    keys.insert_key(&key.map_err(DataError::from)?, ());
                }
                Some(keys)
            }
            Modality::Text => None,
        };
        let (out, saved) = (out.to_owned(), Instant::now());
        Ok(Self {
            out,
            job,
            options,
            skips,
            writer,
            keys,
            start: range.start,
            position,
            end: range.end,
            saved,
        })
    }

    fn rows(&self) -> u64 {
        self.writer.as_ref().map_or(0, StoreWriter::rows) as u64
    }

    fn done(&self) -> u64 {
        self.position - self.start
    }

    fn records(&self) -> u64 {
        self.end - self.start
    }

    /// Checks that the record before the position has the key of the last row or the last skipped record.
    fn check_source<T>(&self, source: &dyn RecordSource<T>) -> Result<(), ExtractError> {
        if self.position == self.start {
            return Ok(());
        }
        let position = self.position - 1;
        let mut records = source.records(position..self.position).map_err(ExtractError::Source)?;
        let found = records.next().transpose().map_err(ExtractError::Source)?.map(|record| record.key);
        let row = self.writer.as_ref().and_then(|writer| writer.resumed_keys().next_back());
        let row = row.transpose().map_err(DataError::from)?;
        let line = self.skips.last().map(|skipped| skipped.key.as_str());
        if found.is_some() && (found.as_deref() == row.as_deref() || found.as_deref() == line) {
            return Ok(());
        }
        let known = [row.as_deref(), line].into_iter().flatten().map(|key| format!("`{key}`"));
        Err(ExtractError::SourceChanged {
            position,
            found: found.map_or("missing".to_owned(), |key| format!("`{key}`")),
            expected: known.collect::<Vec<_>>().join(" or "),
        })
    }

    /// Embeds the next blocks of records, each with a tower of its own, and appends their rows in order.
    fn embed<T, P: Send>(
        &mut self,
        blocks: Vec<Vec<Record<P>>>,
        task: &Task<'_, T, P>,
        observer: &mut dyn Observer,
    ) -> Result<(), ExtractError> {
        let mut next = self.position;
        let (mut selected, mut inputs) = (Vec::new(), Vec::new());
        for block in blocks {
            let (block, usable) = self.select(block, next)?;
            next = block.next;
            selected.push(block);
            inputs.push(usable);
        }
        let all = embed_all(task, inputs);
        for (block, rows) in selected.into_iter().zip(all) {
            self.record(block, rows, observer)?;
        }
        let due = self.saved.elapsed() >= self.options.checkpoint_every;
        if due || self.writer.as_ref().is_some_and(StoreWriter::full) { self.save() } else { Ok(()) }
    }

    /// Returns a block from `position` on and the inputs of its usable records.
    fn select<P>(&mut self, block: Vec<Record<P>>, position: u64) -> Result<(Block, Vec<P>), ExtractError> {
        let next = position + block.len() as u64;
        let (mut keys, mut inputs, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for (position, Record { key, value }) in (position..).zip(block) {
            let value = value.and_then(|value| {
                let new = self.keys.as_mut().is_none_or(|keys| keys.insert_key(&key, ()).is_none());
                if new { Ok(value) } else { Err("an earlier record has the same key".to_owned()) }
            });
            match value {
                Ok(value) => {
                    keys.push(key);
                    inputs.push(value);
                }
                Err(reason) if self.options.strict => {
                    return Err(ExtractError::Record { position, key, reason });
                }
                Err(reason) => skipped.push(Skipped { key, reason }),
            }
        }
        Ok((Block { next, keys, skipped }, inputs))
    }

    /// Appends the rows of a block and the lines of its skipped records.
    fn record(
        &mut self,
        Block { next, keys, skipped }: Block,
        rows: Result<Rows, TowerError>,
        observer: &mut dyn Observer,
    ) -> Result<(), ExtractError> {
        if let (Some(first), Some(last)) = (keys.first(), keys.last()) {
            let rows = rows.as_ref().map_err(|source| ExtractError::Tower {
                first: first.clone(),
                last: last.clone(),
                source: source.clone(),
            })?;
            if rows.len() != keys.len() {
                let (found, expected) = (rows.len(), keys.len());
                return Err(ExtractError::RowCount { first: first.clone(), found, expected });
            }
        }
        self.skips.add(&skipped)?;
        self.append(keys.into_iter().zip(rows.unwrap_or_default()).collect(), next)?;
        self.position = next;
        skipped.iter().for_each(|skipped| observer.observe(Event::Skipped(skipped)));
        observer.observe(progress(self.done(), self.records()));
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
                none.insert(StoreWriter::create_beside(&self.out, config)?)
            }
            (None, None) => return Ok(()),
        };
        Ok(writer.append(&rows, position)?)
    }

    /// Saves the work so far: the skipped records before the state that counts them.
    fn save(&mut self) -> Result<(), ExtractError> {
        self.skips.sync()?;
        if let Some(writer) = &mut self.writer {
            writer.save()?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Completes the store and returns the embedding dimension.
    fn finish(mut self) -> Result<usize, ExtractError> {
        if self.position < self.end {
            return Err(ExtractError::SourceChanged {
                position: self.position,
                found: "missing".to_owned(),
                expected: format!("one of the {} records that were counted", self.job.records),
            });
        }
        self.skips.sync()?;
        match self.writer {
            Some(writer) => {
                let dim = writer.dim();
                writer.close()?;
                Ok(dim)
            }
            None => {
                let records = self.end - self.start;
                Err(ExtractError::AllSkipped { records, path: self.out.join(SKIPPED) })
            }
        }
    }
}
