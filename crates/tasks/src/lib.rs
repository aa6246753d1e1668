//! Published evaluation tasks: their files read as they are, their images and texts embedded once and kept, their
//! scores as they are defined.
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
//! A task takes a [`TaskModel`], two towers and the head between them, and a [`FeatureCache`], in which the towers' rows
//! stay. Metrics are those of [`sail_eval`], where they are defined; ties count against.
//!
//! # What cannot be scored
//! An image that is absent or broken is left out with whatever needs it (in Winoground the whole example), and the
//! result says how many and why ([`Skips`]). What would make a number mean something else is an error: a template without
//! a placeholder, a label that no class has, a class folder without images, a split that is not there.
//!
//! # Looking at single images
//! [`classify_answers`] and [`caption_answers`] give, beside the scores, what each image found ([`Answer`]), and the data
//! gives the images themselves: what a report shows.
//!
//! # Published repositories
//! [`TaskFiles`] says which files of a repository a task reads, for whoever fetches them.
//!
//! # What files may do
//! Annotation files are bounded in size, and the images that they name must lie in the folder of images.
//!
//! Deliberate absences: no model, no device, no download and no printing.

mod answers;
mod cache;
mod captions;
mod classification;
mod error;
mod files;
mod image_folder;
mod inputs;
mod labelled;
mod mmvp;
mod model;
mod pairs;
mod published;
mod segmentation;
mod skips;
mod sugar_crepe;
mod templates;
mod thumbnail;
mod web_dataset;
mod winoground;
mod zip_images;

pub use answers::{Answer, Candidate};
pub use cache::FeatureCache;
pub use captions::{CaptionData, CaptionResult, caption_answers, caption_retrieval};
pub use classification::{ClassificationResult, ConfusionCell, Mistake, classify, classify_answers};
pub use error::TaskError;
pub use labelled::LabelledImages;
pub use mmvp::{MmvpData, MmvpResult, NamedAccuracy, mmvp};
pub use model::TaskModel;
pub use published::TaskFiles;
pub use segmentation::{
    SegmentationLayout, SegmentationSample, SegmentationSet, SegmentationSetError, UnusedImage, class_colour,
    overlay, read_mask,
};
pub use skips::{Skip, Skips};
pub use sugar_crepe::{SugarCrepeData, SugarCrepeResult, sugar_crepe};
pub use templates::Templates;
pub use thumbnail::encode_thumbnail;
pub use winoground::{WinogroundData, WinogroundResult, winoground};
