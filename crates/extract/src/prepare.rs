//! Records, prepared on several threads ahead of their use, in the order of the source.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use sail_data::DataError;
use sail_data::source::{Record, RecordSource};

/// How far ahead, and by how many.
pub(crate) struct Ahead {
    /// How many threads prepare records.
    pub(crate) threads: usize,
    /// How many records a thread takes at a time.
    pub(crate) chunk: usize,
    /// How many records may be ready and wait.
    pub(crate) records: usize,
}

/// Records of a chunk, and where they go once they are prepared.
type Work<T, P> = (Vec<Record<T>>, Sender<Vec<Record<P>>>);

/// What is to come, in order: the records of a chunk, or why there are no more.
type Coming<P> = Result<Receiver<Vec<Record<P>>>, DataError>;

/// Walks over a range of a source while `prepare` runs on other threads, and lets `consume` have the records one after
/// the other.
///
/// A thread reads the source. It hands each chunk to whichever thread is free, and a receiver for the answer to the
/// consumer: the receivers keep the order, and their number is limited, which limits the memory. No thread that
/// prepares ever waits for the consumer.
///
/// The threads are not those of rayon's pool. A backbone computes there, and neither should wait for the other.
pub(crate) fn prepare_ahead<T: Send, P: Send, R>(
    source: &dyn RecordSource<T>,
    range: Range<u64>,
    ahead: &Ahead,
    prepare: &(dyn Fn(T) -> Result<P, String> + Sync),
    consume: impl FnOnce(&mut dyn Iterator<Item = Result<Record<P>, DataError>>) -> R,
) -> R {
    thread::scope(|scope| {
        let (work, jobs) = bounded::<Work<T, P>>(ahead.threads);
        let (order, coming) = bounded::<Coming<P>>(ahead.records.div_ceil(ahead.chunk));
        for _ in 0..ahead.threads {
            let jobs = jobs.clone();
            scope.spawn(move || {
                for (records, answer) in jobs {
                    let records = records.into_iter().map(|Record { key, value }| Record {
                        value: value.and_then(|value| guarded(prepare, value)),
                        key,
                    });
                    // Where the consumer has gone, nobody needs the answer.
                    let _ = answer.send(records.collect());
                }
            });
        }
        drop(jobs);
        scope.spawn(move || {
            if let Err(error) = read(source, range, ahead.chunk, &work, &order) {
                let _ = order.send(Err(error));
            }
        });
        let mut records = coming.into_iter().flat_map(|chunk| match chunk {
            // A sender that is gone would be a thread that panicked, which the scope reports.
            Ok(answer) => answer.recv().unwrap_or_default().into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        // Dropped at the end of this scope, which tells the threads to end.
        consume(&mut records)
    })
}

/// Reads chunks until there are no more, or nobody wants them.
fn read<T, P>(
    source: &dyn RecordSource<T>,
    range: Range<u64>,
    chunk: usize,
    work: &Sender<Work<T, P>>,
    order: &Sender<Coming<P>>,
) -> Result<(), DataError> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut records = source.records(range)?.take(length);
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

/// A decoder that meets a file its authors did not think of must not end the work of days.
fn guarded<T, P>(prepare: &(dyn Fn(T) -> Result<P, String> + Sync), value: T) -> Result<P, String> {
    catch_unwind(AssertUnwindSafe(|| prepare(value)))
        .unwrap_or_else(|panic| Err(format!("its preparation failed: {}", words(panic.as_ref()))))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for an unknown reason")
}
