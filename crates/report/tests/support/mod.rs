//! A strict reader of the pages, and a report that has everything.

pub(crate) mod sample;
pub(crate) mod xml;
