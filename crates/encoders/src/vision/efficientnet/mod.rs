//! EfficientNet-Lite, a small convolutional backbone.

mod checkpoint;
mod config;
mod network;

use burn::tensor::{DType, Device};
use serde_json::Value;

use self::checkpoint::Checkpoint;
use self::config::Config;
use self::network::EfficientNetLite;
use crate::pretrained::{ModelError, Weights};

/// Loads an EfficientNet-Lite.
pub(super) fn load(
    config: &Value,
    weights: &Weights,
    dtype: DType,
    device: &Device,
) -> Result<EfficientNetLite, ModelError> {
    let config = Config::parse(config)?;
    Ok(Checkpoint::read(config, weights, device)?.fold(config, dtype))
}
