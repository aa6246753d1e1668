//! Progress of an extraction.

use sail_core::Progress;

use crate::skipped::Skipped;

/// An event of an extraction.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The extraction starts or resumes, or a block of records is done. Skipped records count as done.
    Progress(Progress),
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
