//! Who wants to know.

use std::num::NonZeroUsize;
use std::path::Path;

use crate::{EvaluationRecord, StepRecord};

/// Something that happened in a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run begins or continues.
    Started {
        /// Steps already taken.
        start: usize,
        /// Steps in all.
        steps: usize,
        /// Steps of an epoch.
        steps_per_epoch: usize,
        /// Trainable parameters.
        parameters: usize,
        /// Rows that go through the head at once; nothing where the whole batch does.
        chunk: Option<NonZeroUsize>,
    },
    /// A step was taken.
    Step(&'a StepRecord),
    /// The holdout was evaluated.
    Evaluated(&'a EvaluationRecord),
    /// A checkpoint is safe on the disk.
    Saved {
        /// Its file.
        path: &'a Path,
        /// Steps taken before it.
        steps: usize,
    },
    /// The run ended, by itself or because it was stopped.
    Finished,
}

/// Receives the events of a run, in order, between two steps. A slow observer slows the run.
pub trait Observer {
    /// Takes an event.
    fn observe(&mut self, event: Event<'_>);
}

/// A closure is an observer.
impl<F: FnMut(Event<'_>)> Observer for F {
    fn observe(&mut self, event: Event<'_>) {
        self(event);
    }
}
