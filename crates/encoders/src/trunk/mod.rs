//! The forward passes: one for vision transformers, one for text transformers.

mod layers;
pub(crate) mod micro_batch;
pub(crate) mod text;
pub(crate) mod vision;

use burn::tensor::{DType, Device};
use sail_core::Quantization;

/// How the weights of a trunk are kept.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    /// The dtype of the computation.
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    /// Bytes for weights and states; blocks that exceed it are read for every pass.
    pub(crate) memory: Option<u64>,
    /// The form of the weights of the blocks between passes.
    pub(crate) quantization: Option<Quantization>,
}

impl Placement {
    /// As they are computed with, in any amount of memory.
    pub(crate) fn new(dtype: DType, device: &Device) -> Self {
        Self { dtype, device: device.clone(), memory: None, quantization: None }
    }
}
