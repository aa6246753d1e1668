//! Small data in the published layouts, with towers that Python can compute too.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod cache;
mod class_folders;
mod lab;
mod published;
