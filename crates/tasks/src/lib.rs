//! Published evaluation tasks: their files read as they are, their pictures and texts embedded once and kept, their
//! scores as they are defined.

mod segmentation;

pub use segmentation::{
    SegmentationLayout, SegmentationSample, SegmentationSet, SegmentationSetError, UnusedPicture,
    class_colour, encode_thumbnail, overlay, read_mask,
};
