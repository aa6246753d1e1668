//! What can be wrong with a set of images and masks.

use std::path::PathBuf;

use sail_data::{DataError, DecodeError};
use sail_eval::SegmentationError;

use super::SegmentationLayout;

/// A set of images and masks that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentationSetError {
    /// A folder or file of the layout is not there.
    #[error("{} has no {wanted}, expected {}: see the layout `{layout}`", root.display(), layout.described())]
    Missing {
        /// The folder of the data.
        root: PathBuf,
        /// The layout asked for.
        layout: SegmentationLayout,
        /// What is missing, relative to the folder.
        wanted: &'static str,
    },
    /// No image has a mask.
    #[error("{} has no image with a mask in the layout `{layout}`: {unused} images or masks are without the other", root.display())]
    Empty {
        /// The folder of the data.
        root: PathBuf,
        /// The layout asked for.
        layout: SegmentationLayout,
        /// Images without a mask and masks without an image.
        unused: usize,
    },
    /// Two files that differ in what their names end with only.
    #[error("{} has two files named `{name}`: keep one", folder.display())]
    Twice {
        /// The folder they are in.
        folder: PathBuf,
        /// Their name without extension.
        name: String,
    },
    /// A line of the class names that names none.
    #[error("{} names no class in line {line}, expected a name, or several with commas between", path.display())]
    ClassName {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// More classes than a mask can tell apart, or none.
    #[error("{} names {found} classes, expected 1 to 255", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// How many it names.
        found: usize,
    },
    /// A list that names what is no file name.
    #[error("line {line} of {} is `{name}`, expected the name of an image without its extension", path.display())]
    Name {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it says.
        name: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An image that cannot be decoded.
    #[error("cannot decode {}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// A mask that does not hold an index for every pixel.
    #[error("cannot read the mask {}: {reason}", path.display())]
    Mask {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A mask that does not fit its image or its classes.
    #[error("the mask {} does not fit", path.display())]
    Fit {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SegmentationError,
    },
    /// A folder that cannot be listed.
    #[error(transparent)]
    Data(#[from] DataError),
}
