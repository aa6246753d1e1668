//! Preprocessing of OpenCLIP's models: `preprocess_cfg` in `open_clip_config.json`.

use serde::Deserialize;
use serde_json::Value;

use super::timm::Mode;
use super::{CropRounding, ImageProcessorConfig, Normalize, Resample};
use crate::config::Fields;
use crate::pretrained::ModelError;

const MODES: [(&str, Mode); 3] =
    [("shortest", Mode::Center), ("longest", Mode::Border), ("squash", Mode::Squash)];

/// A side of a square, or height and width.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Square(usize),
    Each([usize; 2]),
}

/// Returns the transform for evaluation (`image_transform_v2` of OpenCLIP).
pub(super) fn read(config: &Value) -> Result<ImageProcessorConfig, ModelError> {
    let none = Value::Null;
    let get = |value: &Value, field| value.get(field).cloned().unwrap_or_default();
    let settings = config.get("preprocess_cfg").unwrap_or(&none);
    let fields = Fields(settings);
    let vision = get(&get(config, "model_cfg"), "vision_cfg");
    // That of the model is used, whatever the preprocessing says.
    let size = "an integer, or height and width";
    let [height, width] = match Fields(&vision).read("image_size", size)?.or(fields.read("size", size)?) {
        Some(Size::Square(side)) => [side, side],
        Some(Size::Each(size)) => size,
        None => [224, 224],
    };
    let filters =
        [("bicubic", Resample::Bicubic), ("bilinear", Resample::Bilinear), ("random", Resample::Bicubic)];
    let resample = fields.choice("interpolation", Some(Resample::Bicubic), &filters)?;
    let channels = |field| fields.read::<[f64; 3]>(field, "three numbers");
    let Normalize { mean, std } = Normalize::CLIP;
    let normalize =
        Normalize { mean: channels("mean")?.unwrap_or(mean), std: channels("std")?.unwrap_or(std) };
    let mode = fields.choice("resize_mode", Some(Mode::Center), &MODES)?;
    let fill = fields.read("fill_color", "an integer from 0 to 255")?.unwrap_or(0_u8);
    let covers = matches!(mode, Mode::Center) && height != width;
    Ok(ImageProcessorConfig {
        resize: Some(mode.resize([height, width])),
        // OpenCLIP does not pass the filter on to this way of resizing.
        resample: if covers { Resample::Bicubic } else { resample },
        center_crop: (!matches!(mode, Mode::Squash)).then_some([height, width]),
        crop_rounding: CropRounding::Even,
        fill: if matches!(mode, Mode::Border) { [fill; 3] } else { [0; 3] },
        rescale: Some(1.0 / 255.0),
        normalize: Some(normalize),
        ..ImageProcessorConfig::default()
    })
}
