//! The extraction of any kind of records.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sail_core::{Layer, Modality, Progress, Provenance, TowerError, ensure};
use sail_data::source::{Record, RecordSource};
use sail_data::{DataError, StoreWriter};
use sail_support::KeyTable;

use crate::block::{Block, Rows};
use crate::error::ExtractError;
use crate::job::Job;
use crate::observer::{Event, Observer};
use crate::options::ExtractOptions;
use crate::output::{Finished, Opened, Output};
use crate::prepare::{Ahead, Prepared, prepare_ahead, prepare_records};
use crate::skipped::Skipped;

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
    /// The provenance of each store.
    pub(crate) provenances: Vec<Provenance>,
    /// Number of records that a thread preprocesses at once.
    pub(crate) chunk: usize,
    /// What is done ahead of the preprocessing, on other threads.
    pub(crate) fetch: Option<Fetch<'a, T>>,
    /// Converts a record to the input of the tower, or returns the reason why it is skipped.
    pub(crate) prepare: &'a (dyn Fn(T) -> Result<P, String> + Sync),
    /// Number of towers, each on a device of its own.
    pub(crate) towers: usize,
    /// Embeds inputs with the tower of this index, with one row per input for each store.
    pub(crate) embed: &'a (dyn Fn(usize, Vec<P>) -> Result<Vec<Rows>, TowerError> + Sync),
}

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

/// Returns the layers and folders of several stores, which must be of different layers.
pub(crate) fn check_layers(stores: &[(Layer, PathBuf)]) -> Result<(Vec<Layer>, Vec<PathBuf>), ExtractError> {
    ensure(!stores.is_empty(), "layers", "none", "at least one")?;
    for (index, (layer, _)) in stores.iter().enumerate() {
        let is_new = stores[..index].iter().all(|(other, _)| other != layer);
        ensure(is_new, "layers", format_args!("`{layer}` twice"), "each layer once")?;
    }
    Ok(stores.iter().cloned().unzip())
}

/// Returns the only one of the results.
pub(crate) fn single(extractions: Vec<Extraction>) -> Result<Extraction, ExtractError> {
    let single = ensure(extractions.len() == 1, "stores", extractions.len(), "one");
    Ok(single.map(|()| extractions[0])?)
}

/// Embeds the records of a source into one store per folder.
pub(crate) fn run<T: Send, P: Send>(
    task: &Task<'_, T, P>,
    source: &dyn RecordSource<T>,
    outs: &[PathBuf],
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<Extraction>, ExtractError> {
    let begun = Instant::now();
    let shown: Vec<_> = outs.iter().map(|out| out.display().to_string()).collect();
    let _span = tracing::info_span!("extract", modality = %task.modality, out = shown.join(", ")).entered();
    for out in outs {
        options.check_output(out)?;
    }
    let count = source.count().map_err(ExtractError::Source)?;
    let records = options.limit.map_or(count, |limit| limit.min(count));
    let passed_over = source.passed_over().map_err(ExtractError::Source)?;
    if records == 0 {
        return Err(ExtractError::NoRecords { passed_over });
    }
    let mut stores = Vec::with_capacity(outs.len());
    for (out, provenance) in outs.iter().zip(&task.provenances) {
        let job = Job::new(task.modality, provenance.clone(), records, options);
        if job.range().is_empty() {
            let (part, block, blocks) = (options.part, options.block, records.div_ceil(job.block));
            return Err(ExtractError::EmptyPart { part, records, blocks, block });
        }
        stores.push(Output::open(out, job, options, &passed_over)?);
    }
    let finish = |finished: Vec<Finished>| {
        let seconds = begun.elapsed().as_secs_f64();
        let extraction =
            |Finished { rows, skipped, dim, embedded }| Extraction { rows, skipped, dim, embedded, seconds };
        finished.into_iter().map(extraction).collect()
    };
    let mut session = match Session::open(stores, options)? {
        Ok(session) => session,
        Err(finished) => {
            if let Some(store) = finished.first() {
                let done = store.rows + store.skipped;
                observer.observe(progress(done, done));
            }
            return Ok(finish(finished));
        }
    };
    session.check_source(source)?;
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
    session.finish().map(finish)
}

fn progress(done: u64, total: u64) -> Event<'static> {
    Event::Progress(Progress { done, total, unit: "records" })
}

/// Embeds the inputs of several blocks at once, each with a tower of its own.
fn embed_all<T, P: Send>(task: &Task<'_, T, P>, inputs: Vec<Vec<P>>) -> Vec<Result<Vec<Rows>, TowerError>> {
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

/// An extraction in progress: the stores that are not finished, of which some may be ahead of others after a kill.
struct Session<'a> {
    stores: Vec<Opened>,
    options: &'a ExtractOptions,
    /// The keys of the rows so far, if they must be unique.
    keys: Option<KeyTable<()>>,
    start: u64,
    /// That of the store that is behind all others.
    position: u64,
    end: u64,
    saved: Instant,
}

/// The store that is behind all others, if one is unfinished.
fn hindmost(stores: &[Opened]) -> Option<&Output> {
    let unfinished = stores.iter().filter_map(|store| match store {
        Opened::Unfinished(output) => Some(output.as_ref()),
        Opened::Finished(_) => None,
    });
    unfinished.min_by_key(|output| output.position)
}

impl<'a> Session<'a> {
    /// Continues the stores, or returns all if they are finished.
    fn open(
        stores: Vec<Opened>,
        options: &'a ExtractOptions,
    ) -> Result<Result<Self, Vec<Finished>>, ExtractError> {
        let Some(output) = hindmost(&stores) else {
            let finished = stores.into_iter().filter_map(|store| match store {
                Opened::Finished(finished) => Some(finished),
                Opened::Unfinished(_) => None,
            });
            return Ok(Err(finished.collect()));
        };
        let (range, position) = (output.job.range(), output.position);
        let keys = match output.job.modality {
            Modality::Image => {
                let records = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let mut keys = KeyTable::with_capacity(records);
                for key in output.writer.iter().flat_map(StoreWriter::resumed_keys) {
                    keys.insert_key(&key.map_err(DataError::from)?, ());
                }
                Some(keys)
            }
            Modality::Text => None,
        };
        let saved = Instant::now();
        Ok(Ok(Self { stores, options, keys, start: range.start, position, end: range.end, saved }))
    }

    fn outputs(&mut self) -> impl Iterator<Item = &mut Output> {
        self.stores.iter_mut().filter_map(|store| match store {
            Opened::Unfinished(output) => Some(output.as_mut()),
            Opened::Finished(_) => None,
        })
    }

    fn done(&self) -> u64 {
        self.position - self.start
    }

    fn records(&self) -> u64 {
        self.end - self.start
    }

    /// Checks that the record before the position has the key of the last row or the last skipped record.
    fn check_source<T>(&self, source: &dyn RecordSource<T>) -> Result<(), ExtractError> {
        let Some(output) = hindmost(&self.stores).filter(|_| self.position > self.start) else {
            return Ok(());
        };
        let position = self.position - 1;
        let mut records = source.records(position..self.position).map_err(ExtractError::Source)?;
        let found = records.next().transpose().map_err(ExtractError::Source)?.map(|record| record.key);
        let known = output.last_keys()?;
        if found.is_some() && known.contains(&found) {
            return Ok(());
        }
        let known: Vec<_> = known.into_iter().flatten().map(|key| format!("`{key}`")).collect();
        Err(ExtractError::SourceChanged {
            position,
            found: found.map_or("missing".to_owned(), |key| format!("`{key}`")),
            expected: known.join(" or "),
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
        let is_full = |output: &mut Output| output.writer.as_ref().is_some_and(StoreWriter::full);
        if due || self.outputs().any(is_full) { self.save() } else { Ok(()) }
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

    /// Appends the rows of a block to every store that does not have them.
    fn record(
        &mut self,
        block: Block,
        rows: Result<Vec<Rows>, TowerError>,
        observer: &mut dyn Observer,
    ) -> Result<(), ExtractError> {
        let mut rows = rows.map(Vec::into_iter);
        for store in &mut self.stores {
            let rows = match &mut rows {
                Ok(rows) => Ok(rows.next().unwrap_or_default()),
                Err(error) => Err(error.clone()),
            };
            if let Opened::Unfinished(output) = store {
                output.record(&block, rows)?;
            }
        }
        self.position = block.next;
        block.skipped.iter().for_each(|skipped| observer.observe(Event::Skipped(skipped)));
        observer.observe(progress(self.done(), self.records()));
        Ok(())
    }

    /// Saves the work so far.
    fn save(&mut self) -> Result<(), ExtractError> {
        for output in self.outputs() {
            output.save()?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Completes the stores.
    fn finish(self) -> Result<Vec<Finished>, ExtractError> {
        if self.position < self.end {
            return Err(ExtractError::SourceChanged {
                position: self.position,
                found: "missing".to_owned(),
                expected: format!("one of the {} records that were counted", self.records()),
            });
        }
        let finish = |store| match store {
            Opened::Unfinished(output) => output.finish(),
            Opened::Finished(finished) => Ok(finished),
        };
        self.stores.into_iter().map(finish).collect()
    }
}
