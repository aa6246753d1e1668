//! The `sail` command from the outside: real processes, real files, and what they print.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod benchmark;
mod commands;
mod console;
mod docs;
mod encode;
mod lab;
mod probe;
mod resume;
mod segment;
mod several;
mod shard_changes;
mod store;
