//! Reading rows of a matrix in a file.

use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use safetensors::tensor::TensorInfo;
use sail_core::FeatureError;

use crate::codec::{self, Codec};
use crate::file::{StableFile, read_at};
use crate::gather::Wanted;
use crate::header::Header;

/// Maximum gap in bytes between two rows that are read at once, which is faster than a second read.
const GAP: usize = 4096;
/// Maximum bytes in one read, unless a single row is longer.
const MAX_READ: usize = 1 << 20;
/// Minimum rows and bytes for which a file is opened.
const TASK_ROWS: usize = 64;
const TASK_BYTES: usize = 1 << 17;
/// A disk serves many concurrent scattered reads several times as fast as a few.
const MAX_THREADS: usize = 32;
/// Scattered rows, or bytes of contiguous ones, per thread.
const THREAD_ROWS: usize = 128;
const THREAD_BYTES: usize = 4 << 20;

/// A non-empty two-dimensional tensor of rows in a file.
#[derive(Debug, Clone)]
pub(crate) struct StoredMatrix {
    /// Offset in the file.
    pub(crate) start: u64,
    pub(crate) rows: usize,
    pub(crate) codec: Codec,
}

impl StoredMatrix {
    /// Returns the rows of a float tensor, `None` for other tensors.
    pub(crate) fn new(header: &Header, info: &TensorInfo) -> Option<Self> {
        let &[_, dim] = info.shape.as_slice() else {
            return None;
        };
        Self::with_codec(header, info, Codec::new(codec::from_safetensors(info.dtype)?, dim, None))
    }

    /// Returns the rows of a tensor with this encoding, `None` for other tensors.
    pub(crate) fn with_codec(header: &Header, info: &TensorInfo, codec: Codec) -> Option<Self> {
        let &[rows, width] = info.shape.as_slice() else {
            return None;
        };
        if rows == 0 || width == 0 || (info.dtype, width) != codec.tensor() {
            return None;
        }
        Some(Self { start: header.start(info), rows, codec })
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.codec.row_bytes()
    }

    /// The size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.rows * self.row_bytes()) as u64
    }

    /// The offset of its end in the file.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes()
    }
}

/// Sorted rows of one matrix and their output slices.
pub(crate) struct Job<'a, 'b> {
    pub(crate) file: &'a StableFile,
    pub(crate) matrix: &'a StoredMatrix,
    pub(crate) wanted: &'a mut [Wanted<'b>],
}

/// Reads the rows of all jobs. Returns the error of the first job that fails, in the order of the list.
///
/// The threads wait for a disk most of the time, so they are not those of rayon's pool.
pub(crate) fn read_rows<'a, 'b: 'a>(jobs: impl IntoIterator<Item = Job<'a, 'b>>) -> Result<(), FeatureError> {
    let (mut tasks, mut bytes, mut scattered) = (Vec::new(), 0, 0);
    for Job { file, matrix, wanted } in jobs {
        let rows = (TASK_BYTES / matrix.row_bytes()).max(TASK_ROWS);
        for wanted in wanted.chunks_mut(rows) {
            bytes += wanted.len() * matrix.row_bytes();
            if span(wanted) > 2 * wanted.len() {
                scattered += wanted.len();
            }
            tasks.push(Job { file, matrix, wanted });
        }
    }
    let threads = (scattered / THREAD_ROWS).max(bytes / THREAD_BYTES).min(tasks.len()).min(MAX_THREADS);
    let queue = Mutex::new(tasks.into_iter().enumerate());
    let failed = Mutex::new(None);
    let work = || {
        let mut buffer = Vec::new();
        loop {
            let next = lock(&queue).next();
            let Some((index, task)) = next else { return };
            let Err(error) = task.run(&mut buffer) else { continue };
            lock(&queue).by_ref().for_each(drop);
            // Tasks are taken in order, so all earlier ones still finish and the first failure is always found.
            let mut failed = lock(&failed);
            if failed.as_ref().is_none_or(|(first, _)| index < *first) {
                *failed = Some((index, error));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // If the system has no more threads, the existing ones do the work.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

impl Job<'_, '_> {
    fn run(self, buffer: &mut Vec<u8>) -> Result<(), FeatureError> {
        let Self { file, matrix, wanted } = self;
        file.read(|from| {
            runs(wanted, matrix.row_bytes()).try_for_each(|run| read_run(from, matrix, run, buffer))
        })
    }
}

/// Splits sorted rows into runs that are read at once: close to each other, and not too long.
fn runs<'a, 'b>(
    mut wanted: &'a mut [Wanted<'b>],
    row_bytes: usize,
) -> impl Iterator<Item = &'a mut [Wanted<'b>]> {
    std::iter::from_fn(move || {
        let first = wanted.first()?.0;
        let near = |pair: &&[Wanted]| match **pair {
            [(before, _), (row, _)] => {
                (row - before).saturating_sub(1) * row_bytes <= GAP
                    && (row - first + 1) * row_bytes <= MAX_READ
            }
            _ => false,
        };
        let length = 1 + wanted.windows(2).take_while(near).count();
        let (run, rest) = std::mem::take(&mut wanted).split_at_mut(length);
        wanted = rest;
        Some(run)
    })
}

fn read_run(file: &File, matrix: &StoredMatrix, run: &mut [Wanted], buffer: &mut Vec<u8>) -> io::Result<()> {
    let Some(&(first, _)) = run.first() else { return Ok(()) };
    let size = matrix.row_bytes();
    let length = span(run) * size;
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    let bytes = &mut buffer[..length];
    read_at(file, bytes, matrix.start + (first * size) as u64)?;
    for (row, out) in run {
        matrix.codec.decode(&bytes[(*row - first) * size..][..size], out);
    }
    Ok(())
}

/// Number of rows from the first of sorted rows to the last, inclusive.
fn span(wanted: &[Wanted]) -> usize {
    match wanted {
        [(first, _), .., (last, _)] => last - first + 1,
        rows => rows.len(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_rows_are_read_at_once() {
        let cut = |rows: &[usize], row_bytes| {
            let mut wanted: Vec<Wanted> = rows.iter().map(|&row| (row, &mut [][..])).collect();
            runs(&mut wanted, row_bytes).map(|run| run.len()).collect::<Vec<_>>()
        };
        assert!(cut(&[], 8).is_empty());
        assert_eq!(cut(&[3, 3, 4, 6, 1000], 2048), [4, 1]);
        // A gap of one row of 4 KiB is read, a gap of two is not.
        assert_eq!(cut(&[0, 2, 5], 4096), [2, 1]);
        // At most 1 MiB at once, but at least a whole row.
        assert_eq!(cut(&[0, 1, 2, 3, 4], 400_000), [2, 2, 1]);
        assert_eq!(cut(&[7, 8], 2_000_000), [1, 1]);
    }
}
