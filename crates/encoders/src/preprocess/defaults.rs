//! Preprocessing of models that are published without a file of it.

use serde_json::Value;

use super::timm::Mode;
use super::{CropRounding, ImageProcessorConfig, Normalize, Resample, Resize};
use crate::config::Fields;
use crate::pretrained::ModelError;

/// Returns the transform of the authors of a model, by its `model_type`; `None` for models that come with a file.
pub(super) fn read(config: &Value) -> Result<Option<ImageProcessorConfig>, ModelError> {
    let size = |default| Fields(config).square("image_size", default);
    match config.get("model_type").and_then(Value::as_str) {
        Some("dino" | "ibot" | "vit_mae" | "ijepa") => Ok(Some(imagenet(size(224)?))),
        Some("perception_encoder") => Ok(Some(squash(size(224)?, Resample::Bilinear, Normalize::HALF))),
        _ => Ok(None),
    }
}

/// The evaluation on ImageNet: 7/8 of the shortest edge are kept.
fn imagenet(size: usize) -> ImageProcessorConfig {
    let resized = size * 8 / 7;
    ImageProcessorConfig {
        resize: Some(Mode::Center.resize([resized, resized])),
        center_crop: Some([size, size]),
        crop_rounding: CropRounding::Even,
        ..squash(size, Resample::Bicubic, Normalize::IMAGENET)
    }
}

/// Resized to a square, regardless of the aspect ratio.
fn squash(size: usize, resample: Resample, normalize: Normalize) -> ImageProcessorConfig {
    ImageProcessorConfig {
        resize: Some(Resize::Exact { height: size, width: size }),
        resample,
        rescale: Some(1.0 / 255.0),
        normalize: Some(normalize),
        ..ImageProcessorConfig::default()
    }
}
