//! The first stage of the method: every image and caption goes through its frozen backbone once, and the
//! features stay in an embedding store.
//!
//! [`extract_images`] and [`extract_texts`] read a source, prepare its records on all cores while the backbone
//! computes, and write the rows. Four decisions shape the crate:
//!
//! - **The result is a function of the source and the options.** Records are embedded in blocks of fixed positions
//!   of the source, rows keep its order, and shards are cut at exact numbers of rows. Threads, interruptions and
//!   kills change nothing: a resumed store equals an undisturbed one byte for byte.
//! - **A bad record is skipped in the open.** Its key and the reason go to `skipped.jsonl`, and the counts are part of
//!   the result; [`strict`](ExtractOptions::strict) makes the first one an error. Nothing is ever replaced.
//! - **A job can be split.** Each [`Part`] takes a range of whole blocks and gives a store of its own; [`merge`] joins
//!   them into the store that one run would have written.
//! - **Memory is bounded.** The queues are, the rows in memory are those of one shard, and of the images' keys
//!   16 bytes each are remembered to find duplicates.
//!
//! Deliberate absences: it knows no model, no file format of images or captions and no device. Towers come from
//! `sail-encoders` or your crate, sources from [`sail_data::source`] or your crate.

mod embed;
mod error;
mod folder;
mod images;
mod job;
mod key_set;
mod merge;
mod observer;
mod options;
mod prepare;
mod run;
mod skipped;
mod texts;

pub use error::ExtractError;
pub use images::extract_images;
pub use merge::merge;
pub use observer::{Event, Observer};
pub use options::{ExtractOptions, Part};
pub use run::Extraction;
pub use skipped::{Skipped, read_skipped};
pub use texts::extract_texts;
