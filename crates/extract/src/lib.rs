//! Feature extraction, the first stage of the method: every image and caption passes through its frozen backbone once,
//! and the features are stored.
//!
//! [`extract_images`] and [`extract_texts`] read a source, preprocess its records on all cores while the backbone computes,
//! and write the rows to an embedding store. The main design decisions:
//!
//! - **The result is a function of the source and the options.** Records are embedded in blocks of fixed positions in the
//!   source, rows keep its order, and shards have a fixed number of rows. Threads, interruptions and kills change nothing:
//!   a resumed store equals an uninterrupted one byte for byte.
//! - **Unusable records are reported.** Their keys and reasons are listed in `skipped.jsonl`, and the counts are part of the
//!   result; with [`strict`](ExtractOptions::strict) the first one is an error. Nothing is replaced.
//! - **A job can be split.** Each [`Part`] is a range of whole blocks with its own store; [`merge`] joins them into the store
//!   that a single run would have written.
//! - **Memory is bounded:** by the queues, the rows of one shard, and 16 bytes per image key for detecting duplicates.
//!
//! Out of scope: models, file formats of images and captions, and devices. Towers come from `sail-encoders` or your crate,
//! sources from [`sail_data::source`] or your crate.

mod block;
mod embed;
mod error;
mod folder;
mod images;
mod job;
mod merge;
mod observer;
mod options;
mod output;
mod prepare;
mod run;
mod skipped;
mod texts;
mod urls;

pub use error::ExtractError;
pub use images::{extract_image_layers, extract_images, extract_images_on, read_image};
pub use merge::merge;
pub use observer::{Event, Observer};
pub use options::{ExtractOptions, Part};
pub use prepare::{Ahead, Prepared, prepare_ahead};
pub use run::Extraction;
pub use skipped::{Skipped, read_skipped};
pub use texts::{extract_text_layers, extract_texts, extract_texts_on};
pub use urls::UrlFetch;
