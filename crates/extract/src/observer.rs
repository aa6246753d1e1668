//! Progress of an extraction.

use sail_core::Progress;
use sail_data::source::PassedOver;

use crate::skipped::Skipped;

/// An event of an extraction.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The extraction starts or resumes, or a block of records is done. Skipped records count as done.
    Progress(Progress),
    /// The source passes over files because of their suffix. At the start, if there are any.
    PassedOver(&'a PassedOver),
    /// A record was skipped.
    Skipped(&'a Skipped),
}

/// Receives the events of an extraction, in order, on the thread that runs it.
pub trait Observer {
    /// Handles an event.
    fn observe(&mut self, event: Event<'_>);
}

/// A closure is an observer.
impl<F: FnMut(Event<'_>)> Observer for F {
    fn observe(&mut self, event: Event<'_>) {
        self(event);
    }
}
