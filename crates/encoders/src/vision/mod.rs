//! Vision backbones.

mod efficientnet;
mod micro_batch;
mod parameter;
mod vit;

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{DType, Device};
use sail_core::{Dtype, ImageEncoder, ImagePooling};
use serde_json::Value;

use self::micro_batch::MicroBatched;
use crate::config::Fields;
use crate::pretrained::{ModelError, Weights};

/// A family of vision backbones.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    Dinov2,
    Dinov2WithRegisters,
    EfficientNetLite,
    Vit,
}

/// The families by the `model_type` of `config.json`.
const FAMILIES: &[(&str, Family)] = &[
    ("dinov2", Family::Dinov2),
    ("dinov2_with_registers", Family::Dinov2WithRegisters),
    ("efficientnet_lite", Family::EfficientNetLite),
    ("vit", Family::Vit),
];

/// Loads the backbone of a checkpoint, see [`load_image_encoder`].
pub(crate) fn load(
    config: &Value,
    weights: &Weights,
    dtype: Dtype,
    device: &Device,
) -> Result<Arc<dyn ImageEncoder>, ModelError> {
    let dtype = DType::from(dtype);
    Ok(match Fields(config).choice("model_type", None, FAMILIES)? {
        Family::Dinov2 => micro_batched(vit::load_dinov2(config, false, weights, dtype, device)?, device),
        Family::Dinov2WithRegisters => {
            micro_batched(vit::load_dinov2(config, true, weights, dtype, device)?, device)
        }
        Family::EfficientNetLite => {
            micro_batched(efficientnet::load(config, weights, dtype, device)?, device)
        }
        Family::Vit => micro_batched(vit::load_vit(config, weights, dtype, device)?, device),
    })
}

fn micro_batched(encoder: impl ImageEncoder + 'static, device: &Device) -> Arc<dyn ImageEncoder> {
    Arc::new(MicroBatched::new(encoder, device))
}

/// Loads a vision backbone from its configuration and a file of weights (safetensors or PyTorch).
///
/// `config` is the content of `config.json`, whose `model_type` selects the family; missing fields have the defaults of
/// transformers. All families support images of other sizes than those they were trained on.
///
/// | `model_type` | class token | patch tokens | pooled | image sides |
/// |---|---|---|---|---|
/// | `dinov2`, `dinov2_with_registers` | after the final layer norm | after the final layer norm, without registers | | multiples of the patch size |
/// | `vit` | after the final layer norm | after the final layer norm | if the weights have `pooler.dense` | multiples of the patch size |
/// | `efficientnet_lite` | | the last feature map, a token per 32 x 32 pixels | mean of the patch tokens | any |
///
/// The Vision Transformers support [dense features](ImageEncoder::encode_dense) of every layer and query-query attention,
/// EfficientNet-Lite those of the last feature map only.
///
/// EfficientNet-Lite has no published configuration format. The fields besides `model_type` are
///
/// | field | meaning | default | Lite0 to Lite4 |
/// |---|---|---|---|
/// | `width_coefficient` | multiplier of channels, 0.05 to 10 | 1 | 1, 1, 1.1, 1.2, 1.4 |
/// | `depth_coefficient` | multiplier of blocks, 0.05 to 10 | 1 | 1, 1.1, 1.2, 1.4, 1.8 |
/// | `image_size` | side of the training images, for preprocessing | | 224, 240, 260, 280, 300 |
///
/// The backbone computes in `dtype`. On the CPU, half precision saves memory but no time.
///
/// # Errors
/// Returns [`ModelError::Config`] for an unknown family and for invalid fields, [`ModelError::Tensors`] if the weights do
/// not match the configuration, and [`ModelError`] if the file cannot be read.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::Dtype;
/// use std::path::Path;
///
/// let folder = Path::new("tests/fixtures/vision/registers");
/// let config = std::fs::read_to_string(folder.join("config.json"))?;
/// let weights = folder.join("model.safetensors");
/// let device = Device::flex();
/// let encoder = sail_encoders::load_image_encoder(&config, &weights, Dtype::F32, &device)?;
///
/// // Patches of 4 x 4 pixels: three rows and two columns.
/// let features = encoder.encode_images(Tensor::zeros([1, 3, 12, 8], &device))?;
/// assert_eq!(features.patches.unwrap().grid, [3, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load_image_encoder(
    config: &str,
    weights: &Path,
    dtype: Dtype,
    device: &Device,
) -> Result<Arc<dyn ImageEncoder>, ModelError> {
    let config: Value = sail_support::json::from_str(config).map_err(|error| ModelError::Config {
        field: "config.json",
        found: error.to_string(),
        expected: "JSON".to_owned(),
    })?;
    load(&config, &Weights::open(weights)?, dtype, device)
}

/// Returns whether a `model_type` is that of a vision model.
pub(crate) fn supports(model_type: &str) -> bool {
    FAMILIES.iter().any(|(name, _)| *name == model_type)
}

/// Returns the default pooling: class token and patch mean, as in SAIL, if the family has both.
pub(crate) fn default_pooling(model_type: &str) -> ImagePooling {
    match FAMILIES.iter().find(|(name, _)| *name == model_type) {
        Some((_, Family::EfficientNetLite)) => ImagePooling::Pooled,
        _ => ImagePooling::Concat,
    }
}
