//! Images with a mask that names the class of every pixel.

mod error;
mod layout;
mod mask;
mod overlay;
mod set;

pub use error::SegmentationSetError;
pub use layout::SegmentationLayout;
pub use mask::read_mask;
pub use overlay::{class_colour, overlay};
pub use set::{SegmentationSample, SegmentationSet, UnusedImage};
