//! An index of images: a folder that grows with its source.
//!
//! [`update`] embeds the images of a source and writes them to immutable segments; [`Index`] reads them. `index.json` says which
//! files belong to the index and is replaced atomically, so an index is always in one of its states, whenever a process is
//! killed, and can be searched while it is updated.

mod annotate;
mod columns;
mod compact;
mod content;
mod entry;
mod error;
mod filter;
mod folder;
mod graph;
mod identity;
mod images;
mod known;
mod manifest;
mod merge;
mod notes;
mod options;
mod original;
mod pass;
mod read;
mod segment;
mod segment_log;
mod segment_writer;
mod select;
mod text;
mod update;
mod verify;
mod work;

pub use entry::{Entry, EntryId, class_of};
pub use error::IndexError;
pub use filter::Filter;
pub use manifest::{Encoders, Manifest, NotesEntry, RemovedEntry, SegmentEntry};
pub use merge::merge;
pub use options::{IndexModel, IndexSource, UpdateOptions, Updated};
pub use original::Original;
pub use read::Index;
pub use update::update;
