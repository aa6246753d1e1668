//! Who wants to know.

use crate::Skipped;

/// Something that happened in an extraction.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The extraction begins or continues.
    Started {
        /// Records that are done already.
        done: u64,
        /// Records in all.
        records: u64,
    },
    /// A record was skipped.
    Skipped(&'a Skipped),
    /// A block of records was embedded.
    Progress {
        /// Records done so far, skipped ones included.
        done: u64,
        /// Rows among them.
        rows: u64,
    },
    /// The store is complete.
    Finished,
}

/// Receives the events of an extraction, in order, between two blocks. A slow observer slows the work.
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
