//! Swift Alignment of Image and Language: two frozen encoders that never met, one small trained head, one space.
//!
//! This crate is a facade: it joins the crates of the workspace under one name and forwards burn's backends as
//! features. What it adds is [`SailModel`], two towers and a head as one value, what is made
//! of it ([`ZeroShotClassifier`], [`DenseTower`], [`Segmenter`]), and [`device`], because the choice of
//! a backend is made here and nowhere below.
//!
//! | module | what it has |
//! |---|---|
//! | [`core`] | the traits that join the parts |
//! | [`encoders`] | frozen backbones |
//! | [`layers`] | alignment layers and the [`Head`](layers::Head) |
//! | [`losses`] | sigmoid with any number of caption sets, InfoNCE, Barlow Twins |
//! | [`data`] | embedding stores, pairing, batches |
//! | [`extract`] | images and captions to embedding stores |
//! | [`train`] | the [`Trainer`](train::Trainer) |
//! | [`recipe`] | a training run as a value: from features to a trainer |
//! | [`eval`] | retrieval, zero-shot classification, measures of a pair of encoders |
//! | [`probe`] | which encoders to pair: a grid of them, measured and trained |
//! | [`tasks`] | published evaluation tasks, from their files to their scores |
//! | [`report`] | self-contained HTML reports |
//!
//! The [README](https://docs.rs/crate/sail-vl) has a first example; `examples/quickstart.rs` is a whole job.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod device;
mod model;
pub mod recipe;

pub use sail_core as core;
pub use sail_data as data;
pub use sail_encoders as encoders;
pub use sail_eval as eval;
pub use sail_extract as extract;
pub use sail_hub as hub;
pub use sail_layers as layers;
pub use sail_losses as losses;
pub use sail_probe as probe;
pub use sail_report as report;
pub use sail_tasks as tasks;
pub use sail_train as train;

pub use model::{
    DenseTower, Prediction, SailError, SailModel, SegmentOptions, Segmenter, ZeroShotClassifier,
};

/// burn, in the version that this workspace is built on.
pub use burn;

#[cfg(doctest)]
mod documentation;
