//! Indexes of images on disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;
mod updates;
