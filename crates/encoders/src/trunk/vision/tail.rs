//! The last blocks of a vision transformer, from stored token states to pooled features.

use burn::tensor::{DType, Device, Tensor};
use sail_core::{
    AdaptedLayer, DenseOptions, EncodeError, ImagePooling, LowRank, Provenance, TokenBlocks, TowerError,
};
use sail_support::cpu::concurrent_map;

use super::{VisionTrunk, rotary};
use crate::blocks::Attend;
use crate::families::Plan;
use crate::pretrained::{Checkpoint, ModelError};
use crate::spec::VisionSpec;
use crate::trunk::layers::Layers;
use crate::trunk::{Placement, micro_batch};

/// The blocks from `first` on, the final norm, and a pooling.
///
/// Blocks that are trained are those of the checkpoint, on a device with autodiff: products of several layers, folded biases and
/// loops over slices, as in the forward pass, have no gradients with respect to the layers. Frozen ones are those of the forward
/// pass, with the same result.
pub(crate) struct VisionTail {
    trunk: VisionTrunk,
    first: usize,
    is_trained: bool,
    grid: [usize; 2],
    pooling: ImagePooling,
    dim: usize,
    /// Of the token states.
    provenance: Provenance,
    device: Device,
}

impl VisionTail {
    /// Loads the blocks for images with this grid of patches.
    ///
    /// # Errors
    /// As [`VisionTrunk::load`], and [`TowerError`] if the model does not have what the pooling needs.
    pub(crate) fn load(
        plan: Plan<VisionSpec>,
        checkpoint: &Checkpoint,
        (first, is_trained): (usize, bool),
        (grid, pooling): ([usize; 2], ImagePooling),
        provenance: Provenance,
        placement: &Placement,
    ) -> Result<Result<Self, TowerError>, ModelError> {
        let device = if is_trained { placement.device.clone().autodiff() } else { placement.device.clone() };
        let dtype = if is_trained { DType::F32 } else { placement.dtype };
        let placement = Placement { device: device.clone(), dtype, ..placement.clone() };
        let trunk = VisionTrunk::load_with(plan, checkpoint, &placement, |weights, specs| {
            Ok(Layers::resident(weights, specs, first, is_trained, &placement))
        })?;
        let mut tail = Self { trunk, first, is_trained, grid, pooling, dim: 0, provenance, device };
        let blank = Tensor::zeros([1, tail.row_values()], &tail.device);
        let pooled = tail.forward(blank, &[]);
        Ok(pooled.map(|pooled| {
            tail.dim = pooled.dims()[1];
            tail
        }))
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
        let x = states.reshape([batch * self.trunk.tokens(self.grid), self.trunk.spec.width]);
        if !self.is_trained {
            let x = x.cast(self.trunk.dtype);
            let step = |_: usize, block: &crate::blocks::Block, x| block.forward(x, batch, attend);
            let mut states = self.trunk.layers.apply(vec![x], self.trunk.layers.len(), &self.device, step)?;
            return states.pop().ok_or(EncodeError::Weights { reason: "no states".to_owned() });
        }
        let update = |index: usize, layer| {
            let place = (self.first + index, layer);
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
        Ok(self.pooling.pool(&self.trunk.outputs(x, self.grid, DenseOptions::default()))?)
    }
}

impl TokenBlocks for VisionTail {
    fn row_values(&self) -> usize {
        self.trunk.tokens(self.grid) * self.trunk.spec.width
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn layers(&self) -> Vec<AdaptedLayer> {
        let blocks = self.trunk.spec.blocks.iter().enumerate().skip(self.first);
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
        &self.provenance
    }

    fn pooled_provenance(&self) -> Provenance {
        let pooling = Some(self.pooling.to_string());
        Provenance { pooling, layer: None, tokens: None, ..self.provenance.clone() }
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
        // Without a graph, micro-batches run concurrently.
        let has_graph = home.is_autodiff() && self.is_trained;
        let lift = |x: Tensor<2>| match (x.device().is_autodiff(), self.is_trained) {
            (true, false) => x.inner(),
            (false, true) => Tensor::from_inner(x),
            _ => x,
        };
        let here = |x: Tensor<2>| lift(x).to_device(&self.device);
        let adapters: Vec<_> = adapters
            .iter()
            .map(|(layer, LowRank { a, b, scale })| {
                (*layer, LowRank { a: here(a.clone()), b: here(b.clone()), scale: *scale })
            })
            .collect();
        let rotary = rotary::of_grid(&self.trunk.spec, self.grid, &self.device);
        let attend = Attend { rotary, ..Attend::default() };
        let states = here(states);
        let pooled = if has_graph {
            self.pool(states, &adapters, &attend)?
        } else {
            let parts = micro_batch::split(states, &self.device);
            let parts =
                concurrent_map(&self.device, &parts, |part| self.pool(part.clone(), &adapters, &attend))?;
            Tensor::cat(parts, 0)
        };
        Ok(match (home.is_autodiff(), self.is_trained) {
            (true, false) => Tensor::from_inner(pooled).to_device(&home),
            (false, true) => pooled.inner().to_device(&home),
            _ => pooled.to_device(&home),
        })
    }

    fn activations(&self) -> usize {
        /// Copies of the states that the graph of a block keeps and the backward pass adds: norms, heads, residual sums.
        const STATES: usize = 32;
        /// Copies of the scores of all heads.
        const SCORES: usize = 6;
        /// Copies of the inner states of the feed-forward network.
        const INNER: usize = 8;
        let tokens = self.trunk.tokens(self.grid);
        let of_block = |spec: &crate::spec::BlockSpec| {
            let inner = (1 + usize::from(spec.feed_forward.gated)) * spec.feed_forward.width;
            tokens * (STATES * spec.width + SCORES * spec.attention.heads * tokens + INNER * inner)
        };
        self.trunk.spec.blocks.iter().skip(self.first).map(of_block).sum()
    }
}

impl std::fmt::Debug for VisionTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VisionTail")
            .field("first", &self.first)
            .field("is_trained", &self.is_trained)
            .field("grid", &self.grid)
            .field("pooling", &self.pooling)
            .field("provenance", &self.provenance)
            .finish_non_exhaustive()
    }
}
