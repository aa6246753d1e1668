//! The last blocks of a vision transformer, from stored token states to pooled features.

use std::fmt;

use burn::tensor::{DType, Device, Tensor};
use sail_core::{
    AdaptedLayer, ConfigError, DenseOptions, EncodeError, ImagePooling, LowRank, Provenance, TokenBlocks,
    TowerError,
};
use sail_support::cpu::concurrent_map;

use super::{VisionTrunk, rotary};
use crate::blocks::{Attend, Block};
use crate::families::Plan;
use crate::pretrained::{Checkpoint, ModelError};
use crate::spec::{BlockSpec, VisionSpec};
use crate::trunk::layers::Layers;
use crate::trunk::{Placement, micro_batch};

/// The last blocks, the final norm, and a pooling.
///
/// Blocks that are trained are those of the checkpoint, on a device with autodiff: products of several layers, folded biases and
/// loops over slices, as in the forward pass, have no gradients with respect to the layers. Frozen ones are those of the forward
/// pass, with the same result.
pub(crate) struct VisionTail {
    trunk: VisionTrunk,
    config: TailConfig,
    dim: usize,
    device: Device,
}

/// Which blocks, and what they get.
#[derive(Debug)]
pub(crate) struct TailConfig {
    /// Index of the first block.
    pub(crate) first: usize,
    pub(crate) is_trained: bool,
    /// Rows and columns of the patches.
    pub(crate) grid: [usize; 2],
    pub(crate) pooling: ImagePooling,
    /// Of the token states.
    pub(crate) provenance: Provenance,
}

impl VisionTail {
    /// # Errors
    /// As [`VisionTrunk::load`], and [`ModelError::Option`] if the model does not have what the pooling needs.
    pub(crate) fn load(
        plan: Plan<VisionSpec>,
        checkpoint: &Checkpoint,
        config: TailConfig,
        placement: &Placement,
    ) -> Result<Self, ModelError> {
        let (device, dtype) = match config.is_trained {
            true => (placement.device.clone().autodiff(), DType::F32),
            false => (placement.device.clone(), placement.dtype),
        };
        let placement = Placement { device: device.clone(), dtype, ..placement.clone() };
        let trunk = VisionTrunk::load_with(plan, checkpoint, &placement, |weights, specs| {
            Ok(Layers::resident(weights, specs, config.first, config.is_trained, &placement))
        })?;
        let mut tail = Self { trunk, config, dim: 0, device };
        let blank = Tensor::zeros([1, tail.row_values()], &tail.device);
        let pooled = tail.forward(blank, &[]).map_err(|error| ConfigError {
            field: "pooling".to_owned(),
            found: tail.config.pooling.to_string(),
            expected: format!("one that the model has: {error}"),
        })?;
        tail.dim = pooled.dims()[1];
        Ok(tail)
    }

    fn tokens(&self) -> usize {
        self.trunk.tokens(self.config.grid)
    }

    /// Returns the states after the blocks of a micro-batch.
    ///
    /// # Shapes
    /// - states: `[batch, row_values]`; result: `[batch * tokens, width]`
    fn run(
        &self,
        states: Tensor<2>,
        adapters: &[(AdaptedLayer, LowRank)],
        attend: &Attend,
    ) -> Result<Tensor<2>, EncodeError> {
        let batch = states.dims()[0];
        let x = states.reshape([batch * self.tokens(), self.trunk.spec.width]);
        if !self.config.is_trained {
            let (x, layers) = (x.cast(self.trunk.dtype), &self.trunk.layers);
            let step = |_: usize, block: &Block, x| block.forward(x, batch, attend);
            let states = layers.apply(vec![x], layers.len(), &self.device, step)?;
            return Ok(Tensor::cat(states, 0));
        }
        let update = |index: usize, layer| {
            let place = (self.config.first + index, layer);
            let found = adapters.iter().find(|(found, _)| (found.block, found.layer) == place);
            found.map(|(_, update)| update.clone())
        };
        Ok(self.trunk.layers.adapted(update).fold(x, |x, block| block.forward(x, batch, attend)))
    }

    fn pool(
        &self,
        states: Tensor<2>,
        adapters: &[(AdaptedLayer, LowRank)],
        attend: &Attend,
    ) -> Result<Tensor<2>, TowerError> {
        let x = self.run(states, adapters, attend)?;
        let features = self.trunk.outputs(x, self.config.grid, DenseOptions::default());
        Ok(self.config.pooling.pool(&features)?)
    }
}

impl TokenBlocks for VisionTail {
    fn row_values(&self) -> usize {
        self.tokens() * self.trunk.spec.width
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn layers(&self) -> Vec<AdaptedLayer> {
        let blocks = self.trunk.spec.blocks.iter().enumerate().skip(self.config.first);
        let of_block = blocks.flat_map(|(block, spec)| {
            spec.linears().map(move |(layer, [inputs, outputs])| AdaptedLayer {
                block,
                layer,
                inputs,
                outputs,
            })
        });
        of_block.collect()
    }

    fn provenance(&self) -> &Provenance {
        &self.config.provenance
    }

    fn pooled_provenance(&self) -> Provenance {
        let TailConfig { pooling, provenance, .. } = &self.config;
        Provenance { pooling: Some(pooling.to_string()), layer: None, tokens: None, ..provenance.clone() }
    }

    fn forward(
        &self,
        states: Tensor<2>,
        adapters: &[(AdaptedLayer, LowRank)],
    ) -> Result<Tensor<2>, TowerError> {
        let [batch, values] = states.dims();
        if values != self.row_values() {
            let expected = format!("[batch, {}]", self.row_values());
            return Err(
                EncodeError::Shape { what: "token states", found: vec![batch, values], expected }.into()
            );
        }
        let home = states.device();
        let (in_graph, is_trained) = (home.is_autodiff(), self.config.is_trained);
        // The weights are on a device with autodiff if they are trained, else without.
        let here = |x: Tensor<2>| {
            let x = match (x.device().is_autodiff(), is_trained) {
                (true, false) => x.inner(),
                (false, true) => Tensor::from_inner(x),
                _ => x,
            };
            x.to_device(&self.device)
        };
        let update = |update: &LowRank| {
            let LowRank { a, b, scale } = update.clone();
            LowRank { a: here(a), b: here(b), scale }
        };
        let adapters: Vec<_> = adapters.iter().map(|(layer, low_rank)| (*layer, update(low_rank))).collect();
        let rotary = rotary::of_grid(&self.trunk.spec, self.config.grid, &self.device);
        let attend = Attend { rotary, ..Attend::default() };
        let states = here(states);
        let pooled = if in_graph && is_trained {
            self.pool(states, &adapters, &attend)?
        } else {
            // Without a graph, micro-batches run concurrently.
            let parts = micro_batch::split(states, &self.device);
            let pool = |part: &Tensor<2>| self.pool(part.clone(), &adapters, &attend);
            Tensor::cat(concurrent_map(&self.device, &parts, pool)?, 0)
        };
        let pooled = match (in_graph, is_trained) {
            (true, false) => Tensor::from_inner(pooled),
            (false, true) => pooled.inner(),
            _ => pooled,
        };
        Ok(pooled.to_device(&home))
    }

    fn activations(&self) -> usize {
        /// Copies of the states that the graph of a block keeps and the backward pass adds: norms, heads, residual sums.
        const STATES: usize = 24;
        /// Copies of the scores of all heads.
        const SCORES: usize = 5;
        /// Copies of the inner states of the feed-forward network.
        const INNER: usize = 5;
        let tokens = self.tokens();
        let of_block = |spec: &BlockSpec| {
            let inner = (1 + usize::from(spec.feed_forward.gated)) * spec.feed_forward.width;
            tokens * (STATES * spec.width + SCORES * spec.attention.heads * tokens + INNER * inner)
        };
        self.trunk.spec.blocks.iter().skip(self.config.first).map(of_block).sum()
    }
}

impl fmt::Debug for VisionTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisionTail").field("config", &self.config).finish_non_exhaustive()
    }
}
