//! From a decoded image to the pixels that one vision backbone was trained on.

mod config;
mod file;
mod resample;

use std::ops::Range;
use std::path::Path;

use sail_core::{Check, ConfigError, ImagePreprocessor, InputError, Pixels, RgbImage};

pub use config::{ImageProcessorConfig, Normalize, Resize};
pub use resample::Resample;

use crate::ModelError;

/// Resizes, crops and normalises images with one model's rules.
///
/// The values equal those of transformers' image processors on the Pillow 13 backend (`BitImageProcessorPil` and its
/// kin; `use_fast=False` in earlier versions) to the bit. Earlier Pillow takes another order of passes where the height
/// shrinks by more than twice as many pixels as the width, and then rounds differently; the torchvision backend resizes
/// in another arithmetic.
///
/// # Examples
/// See [`ImageProcessorConfig`].
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: ImageProcessorConfig,
    /// What each of the 256 values becomes, by channel.
    values: [[f32; 256]; 3],
}

/// The largest image that resizing may make, as many pixels as Pillow reads at most.
const MAX_PIXELS: usize = 178_956_970;

impl ImageProcessor {
    /// A processor with rules of one's own.
    ///
    /// # Errors
    /// [`ConfigError`] for a rule out of its range.
    pub fn new(config: ImageProcessorConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let value = |channel: usize, value: u8| {
            // The precision of every step is the reference's: 64 bits to rescale, 32 to normalise.
            let value = config.rescale.map_or(f32::from(value), |factor| (f64::from(value) * factor) as f32);
            config
                .normalize
                .map_or(value, |Normalize { mean, std }| (value - mean[channel] as f32) / std[channel] as f32)
        };
        let values = std::array::from_fn(|channel| std::array::from_fn(|byte| value(channel, byte as u8)));
        Ok(Self { config, values })
    }

    /// The processor of a model folder, from its `preprocessor_config.json` (or the `image_processor` of its
    /// `processor_config.json`), in any layout since `ViTFeatureExtractor`: the classes `BitImageProcessor` (DINOv2),
    /// `CLIPImageProcessor`, `DeiTImageProcessor`, `SiglipImageProcessor` and `ViTImageProcessor`, their earlier
    /// `FeatureExtractor` names included. A setting that is absent has its class's default; a class that is absent
    /// follows from the `model_type` in `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Io`] for a file that cannot be read, [`ModelError::Format`] for one that is not what it should be,
    /// and [`ModelError::Config`] for a setting that is not supported.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let (config, path) = file::read(folder)?;
        Self::new(config).map_err(|error| ModelError::Format { path, reason: error.to_string() })
    }

    /// The rules.
    pub fn config(&self) -> &ImageProcessorConfig {
        &self.config
    }

    /// The same rules for another input size: square images of `size` pixels.
    ///
    /// With a crop, the size resized to keeps its ratio to the crop (256 before a crop of 224 becomes 592 before one
    /// of 518); without one, images are resized to the size itself, or their shorter edge is.
    ///
    /// # Errors
    /// [`ConfigError`] when a size gets out of its range.
    pub fn with_size(&self, size: usize) -> Result<Self, ConfigError> {
        let mut config = self.config;
        let scaled = |edge: usize, crop: usize| match config.center_crop {
            // Rounded to nearest; the crop is at least 1.
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
            return Err(InputError(format!("the image is {} x {} pixels, expected some", from[1], from[0])));
        }
        let resized = self.config.resize.map_or(from, |resize| resize.apply(from));
        let size = self.config.center_crop.unwrap_or(resized);
        if size.contains(&0) || resized.contains(&0) || size[0].saturating_mul(size[1]) > MAX_PIXELS {
            return Err(InputError(format!(
                "an image of {} x {} pixels becomes one of {} x {}, expected 1 to {MAX_PIXELS} pixels: crop it first",
                from[1], from[0], resized[1], resized[0]
            )));
        }
        let windows = [0, 1].map(|axis| Window::centred(resized[axis], size[axis]));
        let kept = [windows[0].kept.clone(), windows[1].kept.clone()];
        let window = resample::resize(image, resized, self.config.resample, kept);
        Ok(Pixels { size, values: self.spread(&window, size, &windows) })
    }

    fn normalize(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let size @ [height, width] = [image.height() as usize, image.width() as usize];
        if size.contains(&0) {
            return Err(InputError(format!("the image is {width} x {height} pixels, expected some")));
        }
        let whole = size.map(|side| Window::centred(side, side));
        Ok(Pixels { size, values: self.spread(image.as_raw(), size, &whole) })
    }

    fn describe(&self) -> String {
        self.config.to_string()
    }
}

impl ImageProcessor {
    /// Normalises pixels and sorts them by channel; what the window leaves free is black.
    fn spread(&self, pixels: &[u8], [height, width]: [usize; 2], [rows, columns]: &[Window; 2]) -> Vec<f32> {
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

/// Which part of an axis a centred crop keeps, and how much padding comes before it.
struct Window {
    kept: Range<usize>,
    before: usize,
}

impl Window {
    fn centred(length: usize, crop: usize) -> Self {
        match length.checked_sub(crop) {
            Some(rest) => Self { kept: rest / 2..rest / 2 + crop, before: 0 },
            // The odd one comes before.
            None => Self { kept: 0..length, before: (crop - length).div_ceil(2) },
        }
    }
}
