//! The `sail` command from the outside: real processes, real files, and what they print.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod commands;
mod encode;
mod lab;
mod resume;
mod segment;
mod several;
mod shard_changes;
mod store;
