//! Preprocessing of images.

mod config;
mod file;
mod resample;

use std::ops::Range;
use std::path::Path;

use sail_core::{Check, ConfigError, ImagePreprocessor, InputError, Pixels, Processor, RgbImage};

pub use config::{ImageProcessorConfig, Normalize, Resize};
pub use resample::Resample;

use crate::pretrained::ModelError;

/// Resizes, crops and normalizes images for a model.
///
/// The results are bit-identical to those of transformers' image processors on the Pillow 13 backend (`BitImageProcessorPil`
/// and others; `use_fast=False` in earlier versions). Earlier versions of Pillow use another order of passes, and so other
/// rounding, if the height shrinks by more than twice as many pixels as the width; the torchvision backend resizes in another
/// arithmetic.
///
/// # Examples
/// See [`ImageProcessorConfig`].
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: ImageProcessorConfig,
    /// Lookup table of the 256 values per channel.
    values: [[f32; 256]; 3],
}

/// Maximum number of pixels after resizing, equal to the limit of Pillow for reading.
const MAX_PIXELS: usize = 178_956_970;

impl ImageProcessor {
    /// Creates a processor.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if a field is out of range.
    pub fn new(config: ImageProcessorConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let value = |channel: usize, value: u8| {
            // As in transformers: rescale in `f64`, normalize in `f32`.
            let value = config.rescale.map_or(f32::from(value), |factor| (f64::from(value) * factor) as f32);
            config
                .normalize
                .map_or(value, |Normalize { mean, std }| (value - mean[channel] as f32) / std[channel] as f32)
        };
        let values = std::array::from_fn(|channel| std::array::from_fn(|byte| value(channel, byte as u8)));
        Ok(Self { config, values })
    }

    /// Opens the processor of a model folder from `preprocessor_config.json`, or from `image_processor` in
    /// `processor_config.json`.
    ///
    /// Supports the classes `BitImageProcessor` (DINOv2), `CLIPImageProcessor`, `DeiTImageProcessor`, `SiglipImageProcessor`
    /// and `ViTImageProcessor`, and their former `FeatureExtractor` names. Missing settings have the defaults of the class;
    /// a missing class is derived from the `model_type` in `config.json`.
    ///
    /// # Errors
    /// Returns [`ModelError::Missing`] if there is no such file, [`ModelError::Io`] if it cannot be read,
    /// [`ModelError::Format`] if it is malformed, and [`ModelError::Config`] for an unsupported setting.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let (config, path) = file::read(folder)?;
        Self::new(config).map_err(|error| ModelError::Format { path, reason: error.to_string() })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &ImageProcessorConfig {
        &self.config
    }

    /// Returns a processor for square inputs of `size` pixels.
    ///
    /// With a crop, the ratio of the resized image to the crop is kept (256 and a crop of 224 become 592 and a crop of 518).
    /// Otherwise images are resized to `size`, or their shortest edge is.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if a size is out of range.
    pub fn with_size(&self, size: usize) -> Result<Self, ConfigError> {
        let mut config = self.config;
        let scaled = |edge: usize, crop: usize| match config.center_crop {
            // Rounded to nearest.
            Some(_) => edge.saturating_mul(size).saturating_add(crop / 2) / crop,
            None => size,
        };
        let [crop_height, crop_width] = config.center_crop.unwrap_or([1, 1]);
        let crop = crop_height.min(crop_width);
        config.resize = match config.resize {
            Some(Resize::Exact { height, width }) => {
                Some(Resize::Exact { height: scaled(height, crop_height), width: scaled(width, crop_width) })
            }
            Some(Resize::ShortestEdge(edge)) => Some(Resize::ShortestEdge(scaled(edge, crop))),
            Some(Resize::ShortestEdgeWithin { shortest, longest }) => Some(Resize::ShortestEdgeWithin {
                shortest: scaled(shortest, crop),
                longest: scaled(longest, crop),
            }),
            None if config.center_crop.is_none() => Some(Resize::Exact { height: size, width: size }),
            None => None,
        };
        config.center_crop = config.center_crop.map(|_| [size, size]);
        Self::new(config)
    }
}

impl ImagePreprocessor for ImageProcessor {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let from = [image.height() as usize, image.width() as usize];
        if from.contains(&0) {
            return Err(InputError(format!("empty image of {} x {} pixels", from[1], from[0])));
        }
        let resized = self.config.resize.map_or(from, |resize| resize.apply(from));
        let size = self.config.center_crop.unwrap_or(resized);
        if size.contains(&0) || resized.contains(&0) || size[0].saturating_mul(size[1]) > MAX_PIXELS {
            return Err(InputError(format!(
                "an image of {} x {} pixels is resized to {} x {}, expected 1 to {MAX_PIXELS} pixels: crop it first",
                from[1], from[0], resized[1], resized[0]
            )));
        }
        let windows = [0, 1].map(|axis| Window::centered(resized[axis], size[axis]));
        let kept = [windows[0].kept.clone(), windows[1].kept.clone()];
        let window = resample::resize(image, resized, self.config.resample, kept);
        Ok(Pixels { size, values: self.normalize_window(&window, size, &windows) })
    }

    fn normalize(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let size @ [height, width] = [image.height() as usize, image.width() as usize];
        if size.contains(&0) {
            return Err(InputError(format!("empty image of {width} x {height} pixels")));
        }
        let whole = size.map(|side| Window::centered(side, side));
        Ok(Pixels { size, values: self.normalize_window(image.as_raw(), size, &whole) })
    }

    fn describe(&self) -> String {
        self.config.to_string()
    }

    fn processor(&self) -> Processor {
        self.config.processor()
    }
}

impl ImageProcessor {
    /// Normalizes pixels to channel, row, column order, with black outside of the window.
    fn normalize_window(
        &self,
        pixels: &[u8],
        [height, width]: [usize; 2],
        [rows, columns]: &[Window; 2],
    ) -> Vec<f32> {
        let mut values = Vec::with_capacity(3 * height * width);
        for black in self.values.iter().map(|values| values[0]) {
            values.resize(values.len() + height * width, black);
        }
        let stride = columns.kept.len() * 3;
        for (plane, (table, channel)) in
            values.chunks_exact_mut(height * width).zip(self.values.iter().zip(0..))
        {
            let lines = plane.chunks_exact_mut(width).skip(rows.before);
            for (line, pixels) in lines.zip(pixels.chunks_exact(stride)) {
                let line = line.iter_mut().skip(columns.before);
                for (value, pixel) in line.zip(pixels.as_chunks::<3>().0) {
                    *value = table[usize::from(pixel[channel])];
                }
            }
        }
        values
    }
}

/// The part of an axis that a center crop keeps, and the padding before it.
struct Window {
    kept: Range<usize>,
    before: usize,
}

impl Window {
    fn centered(length: usize, crop: usize) -> Self {
        match length.checked_sub(crop) {
            Some(rest) => Self { kept: rest / 2..rest / 2 + crop, before: 0 },
            // Odd padding is larger before.
            None => Self { kept: 0..length, before: (crop - length).div_ceil(2) },
        }
    }
}
