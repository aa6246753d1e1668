//! Preprocessing of images.

mod class;
mod config;
mod defaults;
mod file;
mod filter;
mod open_clip;
mod resample;
mod settings;
mod size;
mod timm;

use std::ops::Range;
use std::path::Path;

use sail_core::{Check, ConfigError, ImagePreprocessor, InputError, Pixels, Processor, RgbImage};

pub use config::{Arithmetic, CropRounding, ImageProcessorConfig, Normalize};
pub use filter::Resample;
pub use size::Resize;

use crate::pretrained::ModelError;

/// Resizes, crops and normalizes images for a model.
///
/// The results are bit-identical to those of the library that defines them: transformers' image processors on the Pillow 13
/// backend (`BitImageProcessorPil` and others; `use_fast=False` in earlier versions), and the transforms of timm and OpenCLIP.
/// Earlier versions of Pillow use another order of passes, and so other rounding, if the height shrinks by more than twice as
/// many pixels as the width; the torchvision backend resizes 8-bit values in another arithmetic. Processors that exist for
/// torchvision only are exact to 1e-5 if they resize in floats (DINOv3), and to one 8-bit step otherwise (TIPSv2).
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
        let values = std::array::from_fn(|channel| {
            std::array::from_fn(|byte| config.value(channel, f32::from(byte as u8)))
        });
        Ok(Self { config, values })
    }

    /// Opens the processor of a model folder.
    ///
    /// The settings are those of the first of these files:
    ///
    /// 1. `preprocessor_config.json`, or `image_processor` in `processor_config.json`: an image processor of transformers.
    ///    Missing settings have the defaults of the class, and a missing class is derived from the `model_type` in
    ///    `config.json`;
    /// 2. `preprocess_cfg` in `open_clip_config.json`;
    /// 3. `pretrained_cfg` in `config.json`: a model of timm.
    ///
    /// The files of the authors of DINO, iBOT, MAE, I-JEPA and Perception Encoder have none of them. Their transform for
    /// evaluation is used, at the `image_size` in `config.json`.
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
    /// Otherwise images are resized to `size`, or their shortest edge is. Images that are resized to a number of patches get
    /// as many as a square of this size has.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if a size is out of range.
    pub fn with_size(&self, size: usize) -> Result<Self, ConfigError> {
        let mut config = self.config;
        config.resize = match config.resize {
            Some(resize) => Some(resize.with_size(size, config.center_crop)),
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
        let windows = [0, 1].map(|axis| Window::new(resized[axis], size[axis], self.config.crop_rounding));
        let kept = [windows[0].kept.clone(), windows[1].kept.clone()];
        let values = match self.config.arithmetic {
            Arithmetic::Bytes => {
                let window = resample::resize_bytes(image, resized, self.config.resample, kept);
                self.planes(&window, size, &windows, |channel, value| {
                    self.values[channel][usize::from(value)]
                })
            }
            Arithmetic::Floats => {
                let window = resample::resize_floats(image, resized, self.config.resample, kept);
                self.planes(&window, size, &windows, |channel, value| self.config.value(channel, value))
            }
        };
        Ok(Pixels { size, values })
    }

    fn normalize(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let size @ [height, width] = [image.height() as usize, image.width() as usize];
        if size.contains(&0) {
            return Err(InputError(format!("empty image of {width} x {height} pixels")));
        }
        let whole = size.map(|side| Window::new(side, side, CropRounding::default()));
        let values = self
            .planes(image.as_raw(), size, &whole, |channel, value| self.values[channel][usize::from(value)]);
        Ok(Pixels { size, values })
    }

    fn describe(&self) -> String {
        self.config.to_string()
    }

    fn processor(&self) -> Processor {
        self.config.processor()
    }
}

impl ImageProcessor {
    /// Converts pixels to channel, row, column order, with the color of the padding outside of the window.
    fn planes<T: Copy>(
        &self,
        pixels: &[T],
        [height, width]: [usize; 2],
        [rows, columns]: &[Window; 2],
        convert: impl Fn(usize, T) -> f32,
    ) -> Vec<f32> {
        let mut values = Vec::with_capacity(3 * height * width);
        for (table, fill) in self.values.iter().zip(self.config.fill) {
            values.resize(values.len() + height * width, table[usize::from(fill)]);
        }
        let stride = columns.kept.len() * 3;
        for (plane, channel) in values.chunks_exact_mut(height * width).zip(0..) {
            let lines = plane.chunks_exact_mut(width).skip(rows.before);
            for (line, pixels) in lines.zip(pixels.chunks_exact(stride)) {
                let line = line.iter_mut().skip(columns.before);
                for (value, pixel) in line.zip(pixels.as_chunks::<3>().0) {
                    *value = convert(channel, pixel[channel]);
                }
            }
        }
        values
    }
}

impl ImageProcessorConfig {
    /// Rescales and normalizes a value from 0 to 255.
    fn value(&self, channel: usize, value: f32) -> f32 {
        // As in transformers: rescale in `f64`, normalize in `f32`.
        let value = self.rescale.map_or(value, |factor| (f64::from(value) * factor) as f32);
        self.normalize
            .map_or(value, |Normalize { mean, std }| (value - mean[channel] as f32) / std[channel] as f32)
    }
}

/// The part of an axis that a center crop keeps, and the padding before it.
struct Window {
    kept: Range<usize>,
    before: usize,
}

impl Window {
    fn new(length: usize, crop: usize, rounding: CropRounding) -> Self {
        match (length.checked_sub(crop), rounding) {
            (Some(rest), CropRounding::Down) => Self { kept: rest / 2..rest / 2 + crop, before: 0 },
            (Some(rest), CropRounding::Even) => {
                // Half to even.
                let start = rest / 2 + usize::from(rest % 4 == 3);
                Self { kept: start..start + crop, before: 0 }
            }
            (None, CropRounding::Down) => Self { kept: 0..length, before: (crop - length).div_ceil(2) },
            (None, CropRounding::Even) => Self { kept: 0..length, before: (crop - length) / 2 },
        }
    }
}
