//! Configuration of preprocessing.

use std::fmt::{self, Display};

use sail_core::{Check, ConfigError, Processor, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Resample;

/// The size to which images are resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// A fixed size, regardless of the aspect ratio.
    Exact {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// The length of the shortest edge; the longest edge is `length * longest / shortest`, rounded down.
    ShortestEdge(usize),
    /// As [`ShortestEdge`](Self::ShortestEdge), but smaller if the longest edge would exceed a limit.
    ShortestEdgeWithin {
        /// Length of the shortest edge.
        shortest: usize,
        /// Maximum length of the longest edge.
        longest: usize,
    },
}

impl Resize {
    /// Returns the height and width of a resized image, rounded as in transformers.
    pub(super) fn apply(self, [height, width]: [usize; 2]) -> [usize; 2] {
        let (short, long) = (height.min(width), height.max(width));
        let [new_short, new_long] = match self {
            Self::Exact { height, width } => return [height, width],
            // In floats as in transformers; the product is below 2^53.
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

/// Normalization `(value - mean) / std` of red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalize {
    /// Mean of the rescaled values.
    pub mean: [f64; 3],
    /// Standard deviation of the rescaled values; not zero.
    pub std: [f64; 3],
}

/// The steps of preprocessing, in order; steps that are `None` are skipped.
///
/// # Examples
/// EfficientNet-Lite uses `(value - 127) / 128` of a center crop:
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
#[serde(deny_unknown_fields)]
pub struct ImageProcessorConfig {
    /// The size to which images are resized; lengths from 1 to 65,535.
    pub resize: Option<Resize>,
    /// The resampling filter.
    pub resample: Resample,
    /// Height and width of the center crop, from 1 to 65,535; smaller images are padded with black.
    pub center_crop: Option<[usize; 2]>,
    /// Factor of the values 0 to 255; finite and positive, usually 1/255.
    pub rescale: Option<f64>,
    /// The normalization after rescaling.
    pub normalize: Option<Normalize>,
}

impl ImageProcessorConfig {
    /// Returns the settings for [`Provenance`](sail_core::Provenance): equal values mean equal pixels.
    pub fn processor(&self) -> Processor {
        let settings = serde_json::to_value(self).unwrap_or_default();
        let used = |(name, value): &(String, Value)| {
            !value.is_null() && (name != "resample" || self.resize.is_some())
        };
        match settings {
            Value::Object(settings) => Processor::Settings(settings.into_iter().filter(used).collect()),
            _ => Processor::Description(self.to_string()),
        }
    }

    /// Returns the configuration with these recorded settings, or `None` if they are those of another preprocessing.
    pub fn from_processor(processor: &Processor) -> Option<Self> {
        let Processor::Settings(settings) = processor else { return None };
        let mut settings = settings.clone();
        // Not recorded where nothing is resized.
        settings.entry("resample").or_insert_with(|| Resample::Nearest.name().into());
        serde_json::from_value(Value::Object(settings)).ok()
    }
}

/// Maximum edge, far above that of any model; products of two do not overflow.
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
                ensure(value.is_finite(), "normalize.mean", value, "a finite number")?;
            }
            for value in std {
                ensure(
                    value.is_finite() && value as f32 != 0.0,
                    "normalize.std",
                    value,
                    "a finite number other than 0",
                )?;
            }
        }
        Ok(())
    }
}

impl Display for ImageProcessorConfig {
    /// Formats all steps in one line: equal lines mean equal pixels.
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
