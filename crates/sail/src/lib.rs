//! Swift Alignment of Image and Language: aligns a frozen image encoder and a frozen text encoder with a small trained
//! head.
//!
//! This crate is a facade: it re-exports the crates of the workspace and forwards burn's backends as cargo features. It
//! adds [`SailModel`], which combines two towers and a head, the types built from it ([`ZeroShotClassifier`],
//! [`DenseTower`], [`Segmenter`]), [`recipe`], and [`device`], which selects a backend at run time.
//!
//! | module | content |
//! |---|---|
//! | [`core`] | traits and types shared by all crates |
//! | [`encoders`] | frozen image and text encoders |
//! | [`layers`] | projectors and the [`Head`](layers::Head) |
//! | [`losses`] | sigmoid loss with one or more caption sets, InfoNCE, Barlow Twins |
//! | [`data`] | embedding stores, pairing, splits, batches |
//! | [`extract`] | extraction of features from images and captions into embedding stores |
//! | [`fit`] | heads in closed form |
//! | [`train`] | the [`Trainer`](train::Trainer) |
//! | [`recipe`] | a training run as a configuration file |
//! | [`eval`] | retrieval, zero-shot classification, segmentation, similarity measures of two encoders |
//! | [`probe`] | comparison of encoder pairs, with and without training |
//! | [`search`] | search in embeddings |
//! | `serve` | an image search service, with the feature of this name |
//! | [`tasks`] | published evaluation tasks |
//! | [`report`] | self-contained HTML reports |
//!
//! See the [README](https://docs.rs/crate/sail-vl) for a first example and `examples/quickstart.rs` for a complete run.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod allocator;
pub mod device;
mod model;
pub mod recipe;

pub use sail_core as core;
pub use sail_data as data;
pub use sail_encoders as encoders;
pub use sail_eval as eval;
pub use sail_extract as extract;
#[cfg(feature = "url")]
pub use sail_fetch as fetch;
pub use sail_fit as fit;
pub use sail_hub as hub;
pub use sail_layers as layers;
pub use sail_losses as losses;
#[cfg(feature = "objects")]
pub use sail_objects as objects;
pub use sail_probe as probe;
pub use sail_report as report;
pub use sail_search as search;
#[cfg(feature = "serve")]
pub use sail_serve as serve;
pub use sail_tasks as tasks;
pub use sail_train as train;

pub use model::{
    BackboneOptions, DenseTower, LazyModel, Pair, PairSide, Prediction, SailError, SailModel, SegmentOptions,
    Segmenter, ZeroShotClassifier,
};

/// The version of burn that this crate uses.
pub use burn;

#[cfg(doctest)]
mod documentation;
