//! Semantic segmentation: logit maps, sliding windows, and the mean intersection over union.

mod error;
mod label_map;
mod logit_map;
mod scores;
mod window;

pub use error::SegmentationError;
pub use label_map::{IGNORED, LabelMap};
pub use logit_map::{Decision, LogitMap};
pub use scores::{Confusion, FrequencyBaseline, Segmentation};
pub use window::{SlidingWindow, Window, WindowSum};
