//! Semantic segmentation: images with masks.

mod error;
mod file;
mod layout;
mod mask;
mod overlay;
mod set;

pub use error::SegmentationSetError;
pub use layout::SegmentationLayout;
pub use mask::read_mask;
pub use overlay::{class_colour, overlay};
pub use set::{SegmentationSample, SegmentationSet, UnusedImage};
