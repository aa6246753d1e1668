//! Following a run.

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
        /// Number of trainable parameters.
        parameters: usize,
        /// Rows of a micro-batch; `None` if the batch is not divided.
        micro_batch: Option<NonZeroUsize>,
    },
    /// A step was taken.
    Step(&'a StepRecord),
    /// The head was evaluated.
    Evaluated(&'a EvaluationRecord),
    /// A checkpoint was written.
    Saved {
        /// Its file.
        path: &'a Path,
        /// Steps taken before it.
        steps: usize,
    },
    /// The run ended, by itself or because it was stopped.
    Finished,
}

/// Follows a run: receives its events in order, and the head as it is in training, with its autodiff graph. A slow
/// observer slows the run.
///
/// A closure `FnMut(Event<'_>, &H)` is an observer.
///
/// # Examples
/// ```
/// use burn::module::Module;
/// use sail_core::AlignmentHead;
/// use sail_train::{Event, Observer};
///
/// /// Keeps the scale after every step.
/// struct Scales(Vec<f32>);
///
/// impl<H: AlignmentHead> Observer<H> for Scales {
///     fn observe(&mut self, event: Event<'_>, head: &H) {
///         if let Event::Step(_) = event {
///             self.0.push(head.valid().log_scale().exp().into_scalar());
///         }
///     }
/// }
/// ```
pub trait Observer<H>: Send {
    /// Receives an event.
    fn observe(&mut self, event: Event<'_>, head: &H);
}

impl<H, F: FnMut(Event<'_>, &H) + Send> Observer<H> for F {
    fn observe(&mut self, event: Event<'_>, head: &H) {
        self(event, head);
    }
}
