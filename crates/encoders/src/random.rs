//! Backbones with random weights.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{Dtype, ImageEncoder, TextEncoder};

use crate::families::{self, Source};
use crate::image_encoder;
use crate::pretrained::{Checkpoint, ModelError};
use crate::trunk::Placement;
use crate::trunk::text::TextTrunk;

/// Creates the vision backbone of a `config.json` with random weights, to measure its speed and memory.
///
/// # Errors
/// Returns [`ModelError::Config`] for an unknown family and for invalid fields, also where the family reads sizes from the
/// tensors of a checkpoint.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_core::Dtype;
///
/// let config = r#"{"model_type": "dinov2", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}"#;
/// let device = Device::flex();
/// let encoder = sail_encoders::random_image_encoder(config, Dtype::F32, &device)?;
/// let features = encoder.encode_images(Tensor::zeros([1, 3, 28, 28], &device))?;
/// assert_eq!(features.class_token.unwrap().dims(), [1, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn random_image_encoder(
    config: &str,
    dtype: Dtype,
    device: &Device,
) -> Result<Arc<dyn ImageEncoder>, ModelError> {
    let placement = Placement::new(dtype.into(), device);
    let (encoder, _) =
        image_encoder::load(&image_encoder::parse(config)?, &Checkpoint::random(), &placement)?;
    Ok(encoder)
}

/// Creates the text backbone of a `config.json` with random weights, as [`random_image_encoder`].
///
/// # Errors
/// As [`random_image_encoder`].
pub fn random_text_encoder(
    config: &str,
    dtype: Dtype,
    device: &Device,
) -> Result<Arc<dyn TextEncoder>, ModelError> {
    let (config, checkpoint) = (image_encoder::parse(config)?, Checkpoint::random());
    let plan = families::text(&Source { config: &config, checkpoint: &checkpoint })?;
    Ok(Arc::new(TextTrunk::load(plan, &checkpoint, &Placement::new(dtype.into(), device))?))
}
