//! Preprocessing of records on several threads, ahead of their use and in the order of the source.

use std::ops::Range;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use sail_data::DataError;
use sail_data::source::{Record, RecordSource};
use sail_support::catch_panic;

/// Concurrency and lookahead of the preprocessing.
pub struct Ahead {
    /// Number of preprocessing threads.
    pub threads: usize,
    /// Number of records that a thread takes at once.
    pub chunk: usize,
    /// Maximum number of preprocessed records in the queue.
    pub records: usize,
}

/// The records of a chunk, and the sender of the results.
type Work<T, P> = (Vec<Record<T>>, Sender<Vec<Record<P>>>);

/// The next results in order: the receiver of a chunk, or an error of the source.
type Coming<P> = Result<Receiver<Vec<Record<P>>>, DataError>;

/// The prepared records.
pub type Prepared<'a, P> = dyn Iterator<Item = Result<Record<P>, DataError>> + Send + 'a;

/// Iterates over a range of a source, runs `prepare` on other threads, and passes the results to `consume` in order.
pub fn prepare_ahead<T: Send, P: Send, R>(
    source: &dyn RecordSource<T>,
    range: Range<u64>,
    ahead: &Ahead,
    prepare: &(dyn Fn(T) -> Result<P, String> + Sync),
    consume: impl FnOnce(&mut Prepared<'_, P>) -> R,
) -> R {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    prepare_records(|| Ok(source.records(range)?.take(length)), ahead, prepare, consume)
}

/// As [`prepare_ahead`], for the records that `open` returns.
///
/// One thread reads the source. It sends each chunk to the next idle thread, and the receiver of the results to the
/// consumer: the receivers keep the order, and their number is bounded, which bounds the memory. Preprocessing threads never
/// wait for the consumer.
///
/// The threads are not those of rayon's pool, where the backbone computes, so neither waits for the other.
pub(crate) fn prepare_records<T: Send, P: Send, R, I>(
    open: impl FnOnce() -> Result<I, DataError> + Send,
    ahead: &Ahead,
    prepare: &(dyn Fn(T) -> Result<P, String> + Sync),
    consume: impl FnOnce(&mut Prepared<'_, P>) -> R,
) -> R
where
    I: Iterator<Item = Result<Record<T>, DataError>>,
{
    thread::scope(|scope| {
        let (work, jobs) = bounded::<Work<T, P>>(ahead.threads);
        let (order, coming) = bounded::<Coming<P>>(ahead.records.div_ceil(ahead.chunk));
        for _ in 0..ahead.threads {
            let jobs = jobs.clone();
            scope.spawn(move || {
                for (records, answer) in jobs {
                    let records = records.into_iter().map(|Record { key, value }| Record {
                        value: value.and_then(|value| prepared(prepare, value)),
                        key,
                    });
                    // The consumer may have stopped.
                    let _ = answer.send(records.collect());
                }
            });
        }
        drop(jobs);
        scope.spawn(move || {
            if let Err(error) = open().and_then(|records| read(records, ahead.chunk, &work, &order)) {
                let _ = order.send(Err(error));
            }
        });
        let mut records = coming.into_iter().flat_map(|chunk| match chunk {
            // A closed channel means that the thread panicked, which the scope reports.
            Ok(answer) => answer.recv().unwrap_or_default().into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        // Dropping the receivers ends the threads.
        consume(&mut records)
    })
}

/// Reads chunks until the end of the source, or until the consumer stops.
fn read<T, P>(
    mut records: impl Iterator<Item = Result<Record<T>, DataError>>,
    chunk: usize,
    work: &Sender<Work<T, P>>,
    order: &Sender<Coming<P>>,
) -> Result<(), DataError> {
    loop {
        let mut next = Vec::with_capacity(chunk);
        let mut failed = None;
        for record in records.by_ref().take(chunk) {
            match record {
                Ok(record) => next.push(record),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if !next.is_empty() {
            let (answer, receiver) = bounded(1);
            if order.send(Ok(receiver)).is_err() || work.send((next, answer)).is_err() {
                return Ok(());
            }
        } else if failed.is_none() {
            return Ok(());
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

/// Converts a panic in `prepare`, such as in a decoder, into a reason to skip the record.
fn prepared<T, P>(prepare: &(dyn Fn(T) -> Result<P, String> + Sync), value: T) -> Result<P, String> {
    catch_panic(|| prepare(value)).unwrap_or_else(|message| Err(format!("preprocessing panicked: {message}")))
}
