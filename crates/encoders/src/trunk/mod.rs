//! The forward passes: one for vision transformers, one for text transformers.

mod adapter;
mod layers;
pub(crate) mod micro_batch;
mod taken;
pub(crate) mod text;
pub(crate) mod vision;

use std::sync::Arc;

use burn::tensor::{DType, Device};
use sail_core::{Adapter, Quantization};
use sail_matmul::Products;

use crate::blocks::Block;
use crate::spec::BlockSpec;

/// How the weights of a trunk are kept.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    /// The dtype of weights and states.
    pub(crate) dtype: DType,
    /// The products of the blocks, which may be in bf16 while `dtype` is f32.
    pub(crate) products: Products,
    pub(crate) device: Device,
    /// Bytes for weights and states; blocks that exceed it are read for every pass.
    pub(crate) memory: Option<u64>,
    /// The form of the weights of the blocks between passes.
    pub(crate) quantization: Option<Quantization>,
    /// Updates to be merged into the weights of the blocks.
    pub(crate) adapter: Option<Arc<Adapter>>,
}

impl Placement {
    /// As they are computed with, in any amount of memory.
    ///
    /// In bf16 on a CPU, the matrix products of the blocks are in bf16, and everything else in f32.
    pub(crate) fn new(dtype: DType, device: &Device) -> Self {
        let on_cpu = Products::bf16_on_cpu(dtype, device);
        if on_cpu.is_some_and(|products| products.bf16().is_none()) {
            tracing::warn!("this CPU has no instructions for bf16: computing in f32");
        }
        Self {
            dtype: if on_cpu.is_some() { DType::F32 } else { dtype },
            products: on_cpu.unwrap_or_default(),
            device: device.clone(),
            memory: None,
            quantization: None,
            adapter: None,
        }
    }

    /// Merges the updates of a block into its weights, and rewrites it for the forward pass.
    fn fused(&self, index: usize, spec: &BlockSpec, block: Block) -> Block {
        let block = match &self.adapter {
            Some(adapter) => block.merged(|layer| adapter::update(adapter, index, layer, &self.device)),
            None => block,
        };
        block.fuse(spec, self.dtype)
    }

    /// Bytes of a weight of the blocks while it is computed with.
    pub(crate) fn weight_size(&self) -> usize {
        self.products.bf16().map_or(self.dtype, |_| DType::BF16).size()
    }

    /// Prepares a block for the products.
    pub(crate) fn packed(&self, block: Block) -> Block {
        block.packed(self.products)
    }
}
