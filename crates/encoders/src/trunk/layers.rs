//! The blocks of a trunk, in memory or read from the file for every pass.

use burn::tensor::{DType, Device};
use sail_core::{ConfigError, EncodeError};
use sail_support::cpu::concurrent_map;

use crate::blocks::Block;
use crate::pretrained::{Checkpoint, ModelError, WeightMap, Weights};
use crate::spec::BlockSpec;

/// The share of a memory budget for weights; the rest is for the states.
const WEIGHTS: f64 = 0.6;
/// Copies of the states in `f32`: those before and after a block, and those of the features.
const COPIES: usize = 3;

/// The blocks of a trunk.
pub(crate) enum Layers {
    /// In memory.
    Resident(Vec<Block>),
    /// Read from the checkpoint one after the other, for as many inputs as possible.
    Streamed(Stream),
}

/// Blocks that are read for every pass.
pub(crate) struct Stream {
    checkpoint: Checkpoint,
    map: WeightMap,
    specs: Vec<BlockSpec>,
    dtype: DType,
    device: Device,
    /// Bytes for the states of a pass.
    states: u64,
}

impl Layers {
    /// Loads the blocks, or plans to stream them if they exceed the memory budget in bytes.
    ///
    /// Problems are those of `weights`: without its tensors, a block is left out.
    pub(crate) fn load(
        weights: &mut Weights,
        specs: &[BlockSpec],
        source: (&Checkpoint, &WeightMap),
        memory: Option<u64>,
    ) -> Result<Self, ModelError> {
        let (checkpoint, map) = source;
        let dtype = weights.dtype();
        let parameters = specs.iter().map(BlockSpec::parameters);
        let (in_blocks, largest) = (parameters.clone().sum::<u64>(), parameters.max().unwrap_or(0));
        // Embeddings and heads stay in memory.
        let others = checkpoint.parameters().saturating_sub(in_blocks) * dtype.size() as u64;
        let total = others + in_blocks * dtype.size() as u64;
        let Some(memory) = memory.filter(|memory| total as f64 > *memory as f64 * WEIGHTS) else {
            let mut blocks = Vec::with_capacity(specs.len());
            for (index, spec) in specs.iter().enumerate() {
                let block = Block::load(weights, &name(index), spec);
                // After a problem, tensors have no valid shape.
                if weights.check().is_ok() {
                    blocks.push(block.fuse(spec, dtype));
                }
            }
            return Ok(Self::Resident(blocks));
        };
        // While a block is rewritten, its stored values are in memory too.
        let needed = others + 2 * 4 * largest;
        if needed >= memory {
            let expected =
                format!("more than {needed} bytes, for the embeddings and two blocks of the model");
            let found = memory.to_string();
            return Err(ModelError::Option(ConfigError { field: "memory".into(), found, expected }));
        }
        tracing::info!(
            "the model has {total} bytes, which exceed {WEIGHTS} of {memory}: its blocks are read for every batch"
        );
        for (index, spec) in specs.iter().enumerate() {
            weights.without_reading(|weights| Block::load(weights, &name(index), spec));
        }
        Ok(Self::Streamed(Stream {
            checkpoint: checkpoint.closed(),
            map: *map,
            specs: specs.to_vec(),
            dtype,
            device: weights.device().clone(),
            states: memory - needed,
        }))
    }

    /// Returns the number of blocks.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Resident(blocks) => blocks.len(),
            Self::Streamed(stream) => stream.specs.len(),
        }
    }

    /// Returns how many inputs of `tokens` tokens of this width should be encoded at once, if the blocks are streamed.
    pub(crate) fn preferred_rows(&self, tokens: usize, width: usize) -> Option<usize> {
        let Self::Streamed(stream) = self else { return None };
        let row = (COPIES * tokens * width * 4) as u64;
        Some(usize::try_from(stream.states / row.max(1)).unwrap_or(usize::MAX).clamp(1, 4096))
    }

    /// Passes the states of every micro-batch through the first `count` blocks; `step` applies the block of an index.
    pub(crate) fn apply<S: Clone + Send + Sync>(
        &self,
        mut states: Vec<S>,
        count: usize,
        device: &Device,
        step: impl Fn(usize, &Block, S) -> S + Sync,
    ) -> Result<Vec<S>, EncodeError> {
        match self {
            Self::Resident(blocks) => concurrent_map(device, &states, |state| {
                let blocks = blocks.iter().take(count).enumerate();
                Ok(blocks.fold(state.clone(), |state, (index, block)| step(index, block, state)))
            }),
            Self::Streamed(stream) => {
                for index in 0..count.min(stream.specs.len()) {
                    let block = stream.block(index)?;
                    states = concurrent_map(device, &states, |state| {
                        Ok::<_, EncodeError>(step(index, &block, state.clone()))
                    })?;
                }
                Ok(states)
            }
        }
    }
}

impl Stream {
    fn block(&self, index: usize) -> Result<Block, EncodeError> {
        let failed = |error: ModelError| EncodeError::Weights { reason: error.to_string() };
        let mut weights =
            self.checkpoint.reopened().map_err(failed)?.weights(&self.map, self.dtype, &self.device);
        let spec = self
            .specs
            .get(index)
            .ok_or_else(|| EncodeError::Weights { reason: format!("no block {index}") })?;
        let block = Block::load(&mut weights, &name(index), spec);
        weights.check().map_err(failed)?;
        Ok(block.fuse(spec, self.dtype))
    }
}

fn name(index: usize) -> String {
    format!("blocks.{index}")
}
