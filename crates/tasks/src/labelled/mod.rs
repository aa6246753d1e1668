//! Labelled images in the layouts of image classification data sets.

mod class_folders;
mod image_folder;
mod labelled_images;
mod open;
mod web_dataset;

pub(crate) use class_folders::merge_note;
pub use labelled_images::LabelledImages;
pub(crate) use labelled_images::{CLASS_NAMES, TEMPLATES};
pub(crate) use web_dataset::{DATASET_TYPE, SHARDS};
