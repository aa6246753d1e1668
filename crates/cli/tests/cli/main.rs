//! Tests of the `sail` command: real processes, real files and their output.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod benchmark;
mod commands;
mod console;
mod curation;
mod docs;
mod encode;
mod encode_sources;
mod evaluate;
mod few_pairs;
mod fit;
mod head;
mod holdout;
mod index;
mod lab;
mod layers;
mod lora;
mod messy;
mod models;
mod options;
mod pairing;
mod probe;
mod reproduce;
mod resume;
mod search;
mod segment;
mod settings;
mod several;
mod shard_changes;
mod store;
mod sweep;
