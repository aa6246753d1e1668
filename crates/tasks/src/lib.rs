//! Published evaluation tasks: they read the data as published, cache the features of images and texts, and compute the
//! published scores.
//!
//! | task | data | scored by | result |
//! |---|---|---|---|
//! | Winoground | [`WinogroundData`] | [`winoground`] | [`WinogroundResult`] |
//! | MMVP-VLM | [`MmvpData`] | [`mmvp`] | [`MmvpResult`] |
//! | SugarCrepe | [`SugarCrepeData`] | [`sugar_crepe`] | [`SugarCrepeResult`] |
//! | retrieval on COCO captions and Flickr30k | [`CaptionData`] | [`caption_retrieval`] | [`CaptionResult`] |
//! | zero-shot classification | [`LabelledImages`] | [`classify`] | [`ClassificationResult`] |
//! | open-vocabulary segmentation | [`SegmentationSet`] | [`sail_eval::Confusion`] | [`sail_eval::Segmentation`] |
//!
//! A task takes a [`TaskModel`], two towers and the head between them, and a [`FeatureCache`], which stores the features of
//! the towers. Metrics are those of [`sail_eval`]; ties count as wrong.
//!
//! # Skipped items
//! A missing or corrupt image is skipped with everything that needs it (in Winoground the whole example), and the result has
//! their number and the reasons ([`Skips`]). What would change the meaning of a score is an error: a template without a
//! placeholder, a label out of range, class names that do not match the class folders, a missing split. What is worth saying
//! about the classes, such as merged ones, is a note of the result.
//!
//! # Predictions for single images
//! [`classify_answers`] and [`caption_answers`] also return the best texts for each image ([`Answer`]), and the data returns
//! the images themselves, for reports.
//!
//! # Published repositories
//! [`TaskFiles`] selects the files of a repository that a task reads, for downloading them.
//!
//! # Untrusted files
//! Annotation files are bounded in length, and the images in them must be in the folder of images.
//!
//! Out of scope: models, devices, downloads and printing.

mod answers;
mod cache;
mod captions;
mod class_pairing;
mod classification;
mod error;
mod files;
mod inputs;
mod labelled;
mod list;
mod mmvp;
mod model;
mod named_accuracy;
mod pairs;
mod published;
mod segmentation;
mod skips;
mod sugar_crepe;
mod templates;
mod winoground;
mod zip_images;

pub use answers::{Answer, Candidate};
pub use cache::FeatureCache;
pub use captions::{CaptionData, CaptionResult, caption_answers, caption_retrieval};
pub use class_pairing::{ClassOrder, ClassPairing, PairingError, pair_classes};
pub use classification::{ClassificationResult, ConfusedClass, ConfusionCell, classify, classify_answers};
pub use error::TaskError;
pub use labelled::LabelledImages;
pub use mmvp::{MmvpData, MmvpResult, mmvp};
pub use model::TaskModel;
pub use named_accuracy::NamedAccuracy;
pub use published::TaskFiles;
pub use sail_data::encode_thumbnail;
pub use segmentation::{
    MaskPixels, SegmentationLayout, SegmentationSample, SegmentationSet, SegmentationSetError, UnusedImage,
    class_colour, overlay, read_mask,
};
pub use skips::{Skip, Skips};
pub use sugar_crepe::{SugarCrepeData, SugarCrepeResult, sugar_crepe};
pub use templates::Templates;
pub use winoground::{WinogroundData, WinogroundResult, winoground};
