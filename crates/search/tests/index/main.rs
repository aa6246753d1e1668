//! Indexes of images on disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod compaction;
mod damage;
mod merging;
mod notes;
mod support;
mod updates;
