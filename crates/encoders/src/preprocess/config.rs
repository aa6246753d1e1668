//! The rules of one model's preprocessing.

use std::fmt::{self, Display};

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

use super::Resample;

/// The size an image is resized to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// This size, whatever the image's aspect ratio is.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// The shorter edge gets this length, the longer `length * longer / shorter`, rounded down.
    ShortestEdge(usize),
    /// As [`ShortestEdge`](Self::ShortestEdge), but less where the longer edge would exceed a bound.
    ShortestEdgeWithin {
        /// The shorter edge.
        shortest: usize,
        /// The most that the longer edge may get.
        longest: usize,
    },
}

impl Resize {
    /// The height and width that an image of this height and width gets, rounded as transformers does.
    pub(super) fn apply(self, [height, width]: [usize; 2]) -> [usize; 2] {
        let (short, long) = (height.min(width), height.max(width));
        let [new_short, new_long] = match self {
            Self::Exact { height, width } => return [height, width],
            // In floats, as there: a product above 2^53 is out of reach.
            Self::ShortestEdge(edge) => [edge, ((edge * long) as f64 / short as f64) as usize],
            Self::ShortestEdgeWithin { shortest, longest } => {
                let (short, long) = (short as f64, long as f64);
                let (mut edge, mut exact) = (shortest as f64, shortest as f64);
                if long / short * edge > longest as f64 {
                    exact = longest as f64 * short / long;
                    edge = exact.round_ties_even();
                }
                [edge as usize, if short == edge { long } else { exact * long / short } as usize]
            }
        };
        if width < height { [new_long, new_short] } else { [new_short, new_long] }
    }
}

impl Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact { height, width } => write!(f, "{height}x{width}"),
            Self::ShortestEdge(edge) => write!(f, "shortest edge {edge}"),
            Self::ShortestEdgeWithin { shortest, longest } => {
                write!(f, "shortest edge {shortest}, longest at most {longest}")
            }
        }
    }
}

/// What makes a value that a model was trained on: `(value - mean) / std`, for red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalize {
    /// Subtracted, in the scale that rescaling gives.
    pub mean: [f64; 3],
    /// Divided by; not zero.
    pub std: [f64; 3],
}

/// The rules of one model's preprocessing, in the order in which they apply; a step that is `None` is left out.
///
/// # Examples
/// EfficientNet-Lite takes `(value - 127) / 128` of a centred square:
/// ```
/// use sail_core::{ImagePreprocessor, RgbImage};
/// use sail_encoders::{ImageProcessor, ImageProcessorConfig, Normalize, Resample, Resize};
///
/// let processor = ImageProcessor::new(ImageProcessorConfig {
///     resize: Some(Resize::ShortestEdge(256)),
///     resample: Resample::Bicubic,
///     center_crop: Some([224, 224]),
///     rescale: Some(1.0 / 255.0),
///     normalize: Some(Normalize { mean: [127.0 / 255.0; 3], std: [128.0 / 255.0; 3] }),
/// })?;
/// let white = RgbImage::from_pixel(640, 480, [255; 3].into());
/// let pixels = processor.preprocess(&white)?;
/// assert_eq!(pixels.size, [224, 224]);
/// assert!((pixels.values[0] - 1.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageProcessorConfig {
    /// The size to resize to. Lengths from 1 to 65,535.
    pub resize: Option<Resize>,
    /// How to resize.
    pub resample: Resample,
    /// Height and width of the centred window to keep; a smaller image is padded with black. From 1 to 65,535.
    pub center_crop: Option<[usize; 2]>,
    /// What the values 0 to 255 are multiplied by; finite and positive, usually 1/255.
    pub rescale: Option<f64>,
    /// What the values are normalised with, after rescaling.
    pub normalize: Option<Normalize>,
}

/// The longest edge that is resized or cropped to: more than any model takes, and safe to multiply.
const MAX_EDGE: usize = 65_535;

impl Check for ImageProcessorConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let edge = |field: &str, value: usize| {
            ensure((1..=MAX_EDGE).contains(&value), field, value, format_args!("from 1 to {MAX_EDGE}"))
        };
        match self.resize {
            Some(Resize::Exact { height, width }) => {
                edge("resize.height", height)?;
                edge("resize.width", width)?;
            }
            Some(Resize::ShortestEdge(shortest)) => edge("resize.shortest_edge", shortest)?,
            Some(Resize::ShortestEdgeWithin { shortest, longest }) => {
                edge("resize.shortest_edge", shortest)?;
                edge("resize.longest_edge", longest)?;
            }
            None => {}
        }
        if let Some([height, width]) = self.center_crop {
            edge("center_crop.height", height)?;
            edge("center_crop.width", width)?;
        }
        if let Some(factor) = self.rescale {
            ensure(factor.is_finite() && factor > 0.0, "rescale", factor, "a positive number")?;
        }
        if let Some(Normalize { mean, std }) = self.normalize {
            for value in mean {
                ensure(value.is_finite(), "normalize.mean", value, "finite numbers")?;
            }
            for value in std {
                ensure(
                    value.is_finite() && value as f32 != 0.0,
                    "normalize.std",
                    value,
                    "finite numbers but 0",
                )?;
            }
        }
        Ok(())
    }
}

impl Display for ImageProcessorConfig {
    /// One line that names every rule: equal lines mean equal pixels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resize {
            Some(resize) => write!(f, "resize to {resize} ({})", self.resample.name())?,
            None => f.write_str("no resize")?,
        }
        if let Some([height, width]) = self.center_crop {
            write!(f, "; center crop {height}x{width}")?;
        }
        if let Some(factor) = self.rescale {
            write!(f, "; rescale {factor}")?;
        }
        if let Some(Normalize { mean: [r, g, b], std: [x, y, z] }) = self.normalize {
            write!(f, "; mean {r} {g} {b}; std {x} {y} {z}")?;
        }
        Ok(())
    }
}
