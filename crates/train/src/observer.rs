//! Events and observers of a run.

use std::num::NonZeroUsize;
use std::path::Path;

use crate::{EvaluationRecord, StepRecord};

/// An event of a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run was started or resumed.
    Started {
        /// Number of completed steps.
        start: usize,
        /// Total number of steps.
        steps: usize,
        /// Number of steps per epoch.
        steps_per_epoch: usize,
        /// Number of trainable parameters.
        parameters: usize,
        /// Micro-batch size, or `None` if the batch is not split.
        micro_batch: Option<NonZeroUsize>,
    },
    /// A step was completed.
    Step(&'a StepRecord),
    /// The head was evaluated.
    Evaluated(&'a EvaluationRecord),
    /// A checkpoint was written.
    Saved {
        /// The checkpoint file.
        path: &'a Path,
        /// Number of completed steps.
        steps: usize,
    },
    /// The run ended, because it was complete or was stopped.
    Finished,
}

/// Receives the events of a run in order, together with the head in training mode on an autodiff device. Observers run
/// synchronously, so a slow observer slows down the run.
///
/// Closures `FnMut(Event<'_>, &H)` implement this trait.
///
/// # Examples
/// ```
/// use burn::module::Module;
/// use sail_core::AlignmentHead;
/// use sail_train::{Event, Observer};
///
/// /// Records the logit scale after every step.
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
