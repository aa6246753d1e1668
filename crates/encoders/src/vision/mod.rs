//! Vision backbones.

mod efficientnet;
mod parameter;
mod side_by_side;
mod vit;

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use sail_core::{ImageEncoder, ImagePooling};
use serde_json::Value;

use self::efficientnet::EfficientNetLite;
use self::side_by_side::SideBySide;
use self::vit::VisionTransformer;
use crate::pretrained::{ModelError, Weights};

/// The families, as `model_type` spells them.
const FAMILIES: [&str; 4] = ["dinov2", "dinov2_with_registers", "efficientnet_lite", "vit"];

/// Builds the backbone that a configuration's `model_type` names; see [`load_image_encoder`].
pub(crate) fn load(
    config: &Value,
    weights: &Weights,
    precision: FloatDType,
    device: &Device,
) -> Result<Arc<dyn ImageEncoder>, ModelError> {
    let vit = |model| side_by_side(model, device);
    let family = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    Ok(match family {
        "dinov2" => vit(VisionTransformer::dinov2(config, false, weights, precision, device)?),
        "dinov2_with_registers" => vit(VisionTransformer::dinov2(config, true, weights, precision, device)?),
        "vit" => vit(VisionTransformer::vit(config, weights, precision, device)?),
        "efficientnet_lite" => {
            side_by_side(EfficientNetLite::load(config, weights, precision, device)?, device)
        }
        other => {
            return Err(ModelError::Config {
                field: "model_type",
                found: format!("`{other}`"),
                expected: format!("one of {}", FAMILIES.join(", ")),
            });
        }
    })
}

fn side_by_side(model: impl ImageEncoder + 'static, device: &Device) -> Arc<dyn ImageEncoder> {
    if *device == Device::flex() { Arc::new(SideBySide(model)) } else { Arc::new(model) }
}

/// Builds a vision backbone from its configuration and a file of weights (safetensors or PyTorch).
///
/// The configuration is the hub's `config.json`; its `model_type` chooses the family, and what it leaves out has the
/// reference's default. All families take images of sizes other than those they were trained on.
///
/// | `model_type` | class token | patch tokens | pooled | sides |
/// |---|---|---|---|---|
/// | `dinov2`, `dinov2_with_registers` | after the final layer norm | the same, without registers | | multiples of the patch size |
/// | `vit` | after the final layer norm | the same | where the weights have `pooler.dense` | multiples of the patch size |
/// | `efficientnet_lite` | | the last map before pooling, a token for 32 x 32 pixels | their mean | any |
///
/// The Vision Transformers give [dense features](ImageEncoder::encode_dense) of every layer, with q.q attention if asked;
/// EfficientNet-Lite those of its last map alone.
///
/// EfficientNet-Lite has no format of others to follow. Beside `model_type` its configuration has
///
/// | field | meaning | default | Lite0 to Lite4 |
/// |---|---|---|---|
/// | `width_coefficient` | factor of the channels, 0.05 to 10 | 1 | 1, 1, 1.1, 1.2, 1.4 |
/// | `depth_coefficient` | factor of the blocks, 0.05 to 10 | 1 | 1, 1.1, 1.2, 1.4, 1.8 |
/// | `image_size` | side of the images it was trained on, for preprocessing | | 224, 240, 260, 280, 300 |
///
/// The backbone computes in `precision`. On a CPU half precision saves memory but no time.
///
/// # Errors
/// [`ModelError::Config`] for a family that is not known and for values out of range, [`ModelError::Tensors`] for
/// weights that do not fit the configuration, and those of reading the file.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, FloatDType, Tensor};
/// use std::path::Path;
///
/// let folder = Path::new("tests/fixtures/vision/registers");
/// let config = std::fs::read_to_string(folder.join("config.json"))?;
/// let weights = folder.join("model.safetensors");
/// let device = Device::flex();
/// let encoder = sail_encoders::load_image_encoder(&config, &weights, FloatDType::F32, &device)?;
///
/// // Patches of 4 x 4 pixels: three rows and two columns.
/// let features = encoder.encode_images(Tensor::zeros([1, 3, 12, 8], &device))?;
/// assert_eq!(features.patches.unwrap().grid, [3, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load_image_encoder(
    config: &str,
    weights: &Path,
    precision: FloatDType,
    device: &Device,
) -> Result<Arc<dyn ImageEncoder>, ModelError> {
    let config: Value = serde_json::from_str(config).map_err(|error| ModelError::Config {
        field: "config.json",
        found: error.to_string(),
        expected: "JSON".to_owned(),
    })?;
    load(&config, &Weights::open(weights)?, precision, device)
}

/// Whether a `model_type` is a vision model's.
pub(crate) fn knows(family: &str) -> bool {
    FAMILIES.contains(&family)
}

/// The pooling where none is chosen: class token and patch mean, the method's default, where a family has both.
pub(crate) fn default_pooling(family: &str) -> ImagePooling {
    if family == "efficientnet_lite" { ImagePooling::Pooled } else { ImagePooling::Concat }
}
