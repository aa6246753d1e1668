//! Preprocessing of timm's models: `pretrained_cfg` in `config.json`.

use serde_json::Value;

use super::settings::unsupported;
use super::{CropRounding, ImageProcessorConfig, Normalize, Resample, Resize};
use crate::config::Fields;
use crate::pretrained::ModelError;

/// Returns the settings of the preprocessing, or `None` if the model is not one of timm.
pub(super) fn settings(config: &Value) -> Option<&Value> {
    match config.get("pretrained_cfg") {
        Some(settings) => Some(settings),
        // The first files of timm on the hub had the settings at the root.
        None => {
            (config.get("architecture").is_some() && config.get("input_size").is_some()).then_some(config)
        }
    }
}

/// Returns the transform for evaluation (`transforms_imagenet_eval` of timm).
pub(super) fn read(fields: Fields<'_>) -> Result<ImageProcessorConfig, ModelError> {
    let [channels, height, width] =
        fields.read("input_size", "channels, height and width")?.unwrap_or([3_usize, 224, 224]);
    if channels != 3 {
        return Err(fields.error("input_size", "three channels"));
    }
    let interpolation = fields.read::<String>("interpolation", "the name of a filter")?;
    let resample = match &interpolation {
        Some(name) => Resample::from_name(name).ok_or_else(|| {
            fields.error("interpolation", "one of nearest, lanczos, bilinear, bicubic, box, hamming")
        })?,
        None => Resample::Bicubic,
    };
    let channels = |field| fields.read::<[f64; 3]>(field, "three numbers");
    let Normalize { mean, std } = Normalize::IMAGENET;
    let normalize =
        Normalize { mean: channels("mean")?.unwrap_or(mean), std: channels("std")?.unwrap_or(std) };
    // Zero is missing, as in timm.
    let fraction = fields.read("crop_pct", "a number")?.filter(|fraction| *fraction != 0.0).unwrap_or(0.875);
    if !(fraction > 0.0 && fraction <= 1.0) {
        return Err(unsupported("crop_pct", fraction, "a number above 0 and up to 1"));
    }
    let scaled = [height, width].map(|edge| (edge as f64 / fraction) as usize);
    let mode = fields.choice("crop_mode", Some(Mode::Center), &MODES)?;
    Ok(ImageProcessorConfig {
        resize: Some(mode.resize(scaled)),
        resample,
        center_crop: Some([height, width]),
        crop_rounding: CropRounding::Even,
        fill: match mode {
            Mode::Border => normalize.mean.map(|mean| (255.0 * mean).round_ties_even() as u8),
            Mode::Center | Mode::Squash => [0; 3],
        },
        rescale: Some(1.0 / 255.0),
        normalize: Some(normalize),
        ..ImageProcessorConfig::default()
    })
}

/// How an image becomes as large as the crop.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    Center,
    Squash,
    Border,
}

const MODES: [(&str, Mode); 3] =
    [("center", Mode::Center), ("squash", Mode::Squash), ("border", Mode::Border)];

impl Mode {
    pub(super) fn resize(self, [height, width]: [usize; 2]) -> Resize {
        match self {
            // Rounded in another way if they differ.
            Self::Center if height == width => Resize::ShortestEdge(height),
            Self::Center => Resize::Cover { height, width },
            Self::Squash => Resize::Exact { height, width },
            Self::Border => Resize::Contain { height, width },
        }
    }
}
