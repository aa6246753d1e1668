//! Errors of segmentation sets.

use std::path::PathBuf;

use sail_data::{DataError, DecodeError};
use sail_eval::SegmentationError;

use super::layout::SegmentationLayout;

/// An error of a set of images and masks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentationSetError {
    /// A folder or file of the layout is missing.
    #[error("{} has no {wanted}, expected {} in the layout `{layout}`", root.display(), layout.described())]
    Missing {
        /// The folder of the data.
        root: PathBuf,
        /// The requested layout.
        layout: SegmentationLayout,
        /// The missing path, relative to the folder.
        wanted: &'static str,
    },
    /// No image has a mask.
    #[error("{} contains no image with a mask in the layout `{layout}`: {unused} images or masks have no counterpart", root.display())]
    Empty {
        /// The folder of the data.
        root: PathBuf,
        /// The requested layout.
        layout: SegmentationLayout,
        /// Images without a mask and masks without an image.
        unused: usize,
    },
    /// Two files differ only in their extension.
    #[error("{} contains two files named `{name}`: keep one", folder.display())]
    Twice {
        /// The folder of the files.
        folder: PathBuf,
        /// Their name without extension.
        name: String,
    },
    /// A line of the class names is invalid.
    #[error("line {line} of {} is invalid, expected comma-separated class names", path.display())]
    ClassName {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The number of classes is out of range.
    #[error("{} has {found} classes, expected 2 to 65535, the background included", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// Number of classes.
        found: usize,
    },
    /// A list contains an invalid file name.
    #[error("line {line} of {} is `{name}`, expected the name of an image without its extension", path.display())]
    Name {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The content of the line.
        name: String,
    },
    /// The content of a text file is no text.
    #[error("{}, byte {byte}: {reason}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Position of the content.
        byte: usize,
        /// The reason.
        reason: String,
    },
    /// The masks have no label but 0 and the ignored one.
    #[error(
        "the masks in {} have no label but 0 and 255, which is ignored: list two classes if they are binary, or save \
         them with a class index for every pixel",
        folder.display()
    )]
    Binary {
        /// The folder of the masks.
        folder: PathBuf,
    },
    /// No pixel of a mask counts.
    #[error("every pixel of the mask {} is ignored, expected at least one with a class", path.display())]
    NoLabel {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An image cannot be decoded.
    #[error("cannot decode {}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: DecodeError,
    },
    /// A mask cannot be decoded.
    #[error("cannot read the mask {}: {reason}", path.display())]
    Mask {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A mask does not match its image or the classes.
    #[error("the mask {} does not match its image or the classes", path.display())]
    Fit {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: SegmentationError,
    },
    /// A folder cannot be listed.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl SegmentationSetError {
    /// Returns what is wrong with an image or its mask in a few words, the same for all of one kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Image { .. } => "image cannot be decoded",
            Self::Mask { .. } => "mask cannot be read",
            Self::Fit { source: SegmentationError::Size { .. }, .. } => {
                "mask has another size than its image"
            }
            Self::Fit { .. } => "mask has a label that is no class",
            Self::NoLabel { .. } => "every pixel of the mask is ignored",
            Self::Io { .. } => "file cannot be accessed",
            _ => "set cannot be used",
        }
    }
}
