//! Small data in the published layouts, through towers whose features Python computes as well.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod cache;
mod lab;
mod published;
