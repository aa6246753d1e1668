//! Semantic segmentation: images with masks.

mod error;
mod file;
mod layout;
mod load;
mod mask;
mod overlay;
mod set;

pub use error::SegmentationSetError;
pub use layout::SegmentationLayout;
pub use load::{MaskPixels, SegmentationSample};
pub use mask::read_mask;
pub use overlay::{class_colour, overlay};
pub use set::{SegmentationSet, UnusedImage};
