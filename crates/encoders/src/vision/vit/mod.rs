//! Vision Transformers: DINOv2 with and without registers, and the plain ViT of DINO.

mod block;
mod checkpoint;
mod config;
mod dense;
mod model;
mod positions;

use burn::tensor::{DType, Device};
use serde_json::Value;

use self::checkpoint::Checkpoint;
use self::config::Architecture;
use self::model::VisionTransformer;
use crate::pretrained::{ModelError, Weights};

/// Loads DINOv2, with or without registers.
pub(super) fn load_dinov2(
    config: &Value,
    registers: bool,
    weights: &Weights,
    dtype: DType,
    device: &Device,
) -> Result<VisionTransformer, ModelError> {
    let architecture = Architecture::dinov2(config, registers)?;
    Ok(Checkpoint::read(&architecture, weights, device)?.fuse(architecture, dtype))
}

/// Loads a plain ViT.
pub(super) fn load_vit(
    config: &Value,
    weights: &Weights,
    dtype: DType,
    device: &Device,
) -> Result<VisionTransformer, ModelError> {
    let has_pooler = weights.names().any(|name| name.ends_with("pooler.dense.weight"));
    let architecture = Architecture::vit(config, has_pooler)?;
    Ok(Checkpoint::read(&architecture, weights, device)?.fuse(architecture, dtype))
}
