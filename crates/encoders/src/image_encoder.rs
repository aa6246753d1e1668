//! Vision backbones from a configuration and weights.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{ConfigError, Dtype, ImageEncoder, ImagePooling};
use serde_json::Value;

use crate::convolutional::Convolutional;
use crate::families::{self, Source, VisionSide};
use crate::pretrained::{Checkpoint, ModelError};
use crate::trunk::Placement;
use crate::trunk::micro_batch::MicroBatched;
use crate::trunk::vision::VisionTrunk;

/// Loads a vision backbone from its configuration and a file of weights (safetensors or PyTorch).
///
/// `config` is the content of `config.json`, whose `model_type` selects the family; missing fields have the defaults of
/// transformers.
///
/// | `model_type` | class token | patch tokens | pooled | image sides |
/// |---|---|---|---|---|
/// | `dinov2`, `dinov2_with_registers`, `dinov3_vit`, `vit_mae` | after the final norm | after the final norm, without registers | | multiples of the patch size |
/// | `vit` (also DINO and iBOT) | after the final norm | after the final norm | if the weights have `pooler.dense` | multiples of the patch size |
/// | `pixio` | the mean of several after the final norm | after the final norm | | multiples of the patch size |
/// | `tipsv2`, `tipsv2_vision_model` | after the final norm | after the final norm, without registers | the class token | multiples of the patch size |
/// | `ijepa` | | after the final norm | mean of the patch tokens | multiples of the patch size |
/// | `aimv2`, `aimv2_vision_model` | | after the final norm | that of the head, else mean of the patch tokens | those of training; multiples of the patch size for native ones |
/// | `clip`, `clip_vision_model`, `metaclip_2` | after the final norm | of the last block | the projection, if the weights have one | multiples of the patch size |
/// | `siglip`, `siglip_vision_model`, `siglip2` | | after the final norm | that of the head | multiples of the patch size |
/// | `convnext`, `convnextv2` | | the last feature map, a token per 32 x 32 pixels | its mean after the final norm | from 32 |
/// | `dinov3_convnext` | the mean of the feature map after the final norm | the same map after the final norm | | from 32 |
/// | `resnet`, `efficientnet_lite` | | the last feature map, a token per 32 x 32 pixels | its mean | any |
///
/// The Vision Transformers support [dense features](ImageEncoder::encode_dense) of every layer and query-query attention,
/// convolutional backbones those of the last feature map only. Files of the authors of DINO, iBOT, MAE and I-JEPA are read as
/// well: the configuration needs no more than `"model_type"` (`vit`, `vit_mae` or `ijepa`), because the sizes are those of
/// the tensors.
///
/// EfficientNet-Lite has no published configuration format. The fields besides `model_type` are
///
/// | field | meaning | default | Lite0 to Lite4 |
/// |---|---|---|---|
/// | `width_coefficient` | multiplier of channels, 0.05 to 10 | 1 | 1, 1, 1.1, 1.2, 1.4 |
/// | `depth_coefficient` | multiplier of blocks, 0.05 to 10 | 1 | 1, 1.1, 1.2, 1.4, 1.8 |
/// | `image_size` | side of the training images, for preprocessing | | 224, 240, 260, 280, 300 |
///
/// The backbone computes in `dtype`. On a CPU with instructions for bf16 (AVX-512 BF16), bf16 is
/// twice as fast as f32; f16 saves memory but no time.
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
    let placement = Placement::new(dtype.into(), device);
    let (encoder, _) = load(&parse(config)?, &Checkpoint::open(weights)?, &placement)?;
    Ok(encoder)
}

/// Parses the content of `config.json`.
pub(crate) fn parse(config: &str) -> Result<Value, ModelError> {
    sail_support::json::from_str(config).map_err(|error| ModelError::Config {
        field: "config.json",
        found: error.to_string(),
        expected: "JSON".to_owned(),
    })
}

/// Loads the backbone of a checkpoint and returns its pooling by default.
pub(crate) fn load(
    config: &Value,
    checkpoint: &Checkpoint,
    placement: &Placement,
) -> Result<(Arc<dyn ImageEncoder>, ImagePooling), ModelError> {
    let source = Source { config, checkpoint };
    match families::vision(config)? {
        VisionSide::Transformer(plan) => {
            let plan = plan(&source)?;
            let pooling = plan.spec.default_pooling();
            Ok((Arc::new(VisionTrunk::load(plan, checkpoint, placement)?), pooling))
        }
        VisionSide::Convolutional(plan) => {
            if let Some(quantization) = placement.quantization {
                let expected = "none: only the weights of transformers are quantized".to_owned();
                let (field, found) = ("quantization".to_owned(), quantization.to_string());
                return Err(ModelError::Option(ConfigError { field, found, expected }));
            }
            if placement.adapter.is_some() {
                let expected = "none: only the blocks of transformers have adapters".to_owned();
                let (field, found) = ("adapter".to_owned(), "set".to_owned());
                return Err(ModelError::Option(ConfigError { field, found, expected }));
            }
            if placement.products.bf16().is_some() {
                tracing::warn!("convolutional networks are computed in f32 on the CPU, not in bf16");
            }
            let plan = plan(&source)?;
            let Placement { dtype, device, .. } = placement;
            let mut weights = checkpoint.weights(&plan.map, *dtype, device);
            let encoder = Convolutional::load(&mut weights, &plan.spec);
            weights.finish()?;
            let pooling = plan.spec.default_pooling();
            Ok((Arc::new(MicroBatched::new(Arc::new(encoder), device)), pooling))
        }
    }
}
