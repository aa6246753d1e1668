//! Configuration of preprocessing.

use std::fmt::{self, Display};

use sail_core::{Check, ConfigError, Processor, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::size::edge;
use super::{Resample, Resize};

/// Normalization `(value - mean) / std` of red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalize {
    /// Mean of the rescaled values.
    pub mean: [f64; 3],
    /// Standard deviation of the rescaled values; not zero.
    pub std: [f64; 3],
}

impl Normalize {
    /// Mean and standard deviation of ImageNet.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// Mean and standard deviation of CLIP.
    pub const CLIP: Self =
        Self { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };
    /// From 0..1 to -1..1.
    pub const HALF: Self = Self { mean: [0.5; 3], std: [0.5; 3] };
}

/// The numbers in which images are resized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// 8-bit values, as in Pillow.
    #[default]
    Bytes,
    /// `f32` values without rounding, as torchvision resizes rescaled tensors with antialiasing (DINOv3). For
    /// [`Resample::Bilinear`] and [`Resample::Bicubic`].
    Floats,
}

/// Where a center crop lies if the number of pixels to remove or to add is odd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropRounding {
    /// One pixel less is removed before the crop, or one more is added, as in transformers.
    #[default]
    Down,
    /// Half of the removed pixels is rounded to an even number, or one pixel less is added, as in torchvision.
    Even,
}

/// The steps of preprocessing, in order; steps that are `None` are skipped. The default has no steps.
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
///     ..ImageProcessorConfig::default()
/// })?;
/// let white = RgbImage::from_pixel(640, 480, [255; 3].into());
/// let pixels = processor.preprocess(&white)?;
/// assert_eq!(pixels.size, [224, 224]);
/// assert!((pixels.values[0] - 1.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageProcessorConfig {
    /// The size to which images are resized; lengths from 1 to 65,535.
    pub resize: Option<Resize>,
    /// The resampling filter.
    pub resample: Resample,
    /// The numbers in which images are resized.
    #[serde(default, skip_serializing_if = "is_default")]
    pub arithmetic: Arithmetic,
    /// Height and width of the center crop, from 1 to 65,535; smaller images are padded.
    pub center_crop: Option<[usize; 2]>,
    /// Where the crop lies if the difference of the sizes is odd.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crop_rounding: CropRounding,
    /// Red, green and blue of the padding, before rescaling; black by default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fill: [u8; 3],
    /// Factor of the values 0 to 255; finite and positive, usually 1/255.
    pub rescale: Option<f64>,
    /// The normalization after rescaling.
    pub normalize: Option<Normalize>,
}

/// Whether a setting has the value that it has where it is not recorded.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ImageProcessorConfig {
    /// Returns the settings for [`Provenance`](sail_core::Provenance): equal values mean equal pixels.
    pub fn processor(&self) -> Processor {
        let settings = serde_json::to_value(self).unwrap_or_default();
        let used = |(name, value): &(String, Value)| match name.as_str() {
            "resample" | "arithmetic" => self.resize.is_some(),
            "crop_rounding" | "fill" => self.center_crop.is_some(),
            _ => !value.is_null(),
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

impl Check for ImageProcessorConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if let Some(resize) = self.resize {
            resize.check()?;
        }
        if self.resize.is_some() && self.arithmetic == Arithmetic::Floats {
            ensure(
                matches!(self.resample, Resample::Bilinear | Resample::Bicubic),
                "resample",
                self.resample.name(),
                "bilinear or bicubic, because `arithmetic` is floats",
            )?;
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
        match (self.resize, self.arithmetic) {
            (Some(resize), Arithmetic::Bytes) => write!(f, "resize to {resize} ({})", self.resample.name())?,
            (Some(resize), Arithmetic::Floats) => {
                write!(f, "resize to {resize} ({}, in floats)", self.resample.name())?;
            }
            (None, _) => f.write_str("no resize")?,
        }
        if let Some([height, width]) = self.center_crop {
            write!(f, "; center crop {height}x{width}")?;
            if self.crop_rounding == CropRounding::Even {
                f.write_str(", odd to even")?;
            }
            if !is_default(&self.fill) {
                let [r, g, b] = self.fill;
                write!(f, ", padded with {r} {g} {b}")?;
            }
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
