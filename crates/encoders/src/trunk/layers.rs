//! The blocks of a trunk, in memory or read from the file for every pass.

use std::borrow::Cow;

use burn::tensor::Device;
use sail_core::{ConfigError, EncodeError, LoraLayer, LowRank, Quantization};
use sail_support::cpu::concurrent_map;

use super::Placement;
use crate::blocks::{Block, Linear};
use crate::pretrained::{Checkpoint, ModelError, WeightMap, Weights};
use crate::spec::BlockSpec;

/// The share of a memory budget for weights; the rest is for the states.
const WEIGHTS: f64 = 0.6;
/// Copies of the states in `f32`: those before and after a block, and those of the features.
const COPIES: usize = 3;

/// Bytes for the states of a pass with quantized blocks, if memory has no limit.
const STATES: u64 = 1 << 29;

/// The blocks of a trunk.
pub(crate) struct Layers {
    blocks: Blocks,
    placement: Placement,
    /// Bytes for the states of a pass, if it should be as large as possible.
    states: Option<u64>,
}

enum Blocks {
    /// In memory.
    Resident(Vec<Block>),
    /// In memory as integers: one block at a time is what is computed with.
    Quantized(Vec<Block>),
    /// Read from the checkpoint one after the other.
    Streamed(Stream),
}

/// Blocks that are read for every pass.
struct Stream {
    checkpoint: Checkpoint,
    map: WeightMap,
    specs: Vec<BlockSpec>,
}

impl Layers {
    /// Loads the blocks, or plans to stream them if they exceed the memory budget in bytes.
    ///
    /// Problems are those of `weights`: without its tensors, a block is left out.
    pub(crate) fn load(
        weights: &mut Weights,
        specs: &[BlockSpec],
        source: (&Checkpoint, &WeightMap),
        placement: &Placement,
    ) -> Result<Self, ModelError> {
        let (checkpoint, map) = source;
        let Placement { dtype, memory, quantization, .. } = *placement;
        if let Some(adapter) = &placement.adapter {
            super::adapter::check(adapter, specs)?;
        }
        if let Some(quantization) = quantization {
            check_quantizable(specs, quantization)?;
        }
        let parameters = specs.iter().map(BlockSpec::parameters);
        let (in_blocks, largest) = (parameters.clone().sum::<u64>(), parameters.max().unwrap_or(0));
        // Embeddings and heads stay in memory.
        let others = checkpoint.parameters().saturating_sub(in_blocks) * dtype.size() as u64;
        let total = others
            + match quantization {
                // A scale in `f32` for 32 values.
                Some(Quantization::Int8) => in_blocks + in_blocks / 8,
                None => in_blocks * placement.weight_size() as u64,
            };
        // While a block is rewritten, its stored values are in memory too.
        let transient = 2 * 4 * largest;
        let fits = memory.is_none_or(|memory| total as f64 <= memory as f64 * WEIGHTS);
        if fits && quantization.is_none() {
            return Ok(Self::resident(weights, specs, 0, false, placement));
        }
        let needed = others + transient;
        if let Some(memory) = memory.filter(|memory| needed >= *memory) {
            let expected =
                format!("more than {needed} bytes, for the embeddings and two blocks of the model");
            let found = memory.to_string();
            return Err(ModelError::Option(ConfigError { field: "memory".into(), found, expected }));
        }
        for (index, spec) in specs.iter().enumerate() {
            weights.without_reading(|weights| Block::load(weights, &name(index), spec));
        }
        let stream = Stream { checkpoint: checkpoint.closed(), map: *map, specs: specs.to_vec() };
        let kept = if fits { total + transient } else { needed };
        let states = Some(memory.map_or(STATES, |memory| memory.saturating_sub(kept)));
        let blocks = match quantization {
            // Through the stream, which does not keep the pages of the file.
            Some(quantization) if fits => {
                let count = if weights.check().is_ok() { specs.len() } else { 0 };
                let blocks = (0..count)
                    .map(|index| stream.read(index, placement).map(|block| block.quantized(quantization)));
                Blocks::Quantized(blocks.collect::<Result<_, _>>()?)
            }
            _ => {
                tracing::info!(
                    "the weights take {total} bytes, more than {WEIGHTS} of the memory: blocks are read for every batch"
                );
                Blocks::Streamed(stream)
            }
        };
        Ok(Self { blocks, states, placement: placement.clone() })
    }

    /// Loads the blocks from index `first` on into memory: as they are stored, to train updates of them, or for the forward
    /// pass.
    ///
    /// Problems are those of `weights`.
    pub(crate) fn resident(
        weights: &mut Weights,
        specs: &[BlockSpec],
        first: usize,
        is_trained: bool,
        placement: &Placement,
    ) -> Self {
        let mut blocks = Vec::with_capacity(specs.len().saturating_sub(first));
        for (index, spec) in specs.iter().enumerate() {
            if index < first {
                weights.without_reading(|weights| Block::load(weights, &name(index), spec));
                continue;
            }
            let block = Block::load(weights, &name(index), spec);
            // After a problem, tensors have no valid shape.
            if weights.check().is_ok() {
                let for_pass = |block| placement.packed(placement.fused(index, spec, block));
                blocks.push(if is_trained { block } else { for_pass(block) });
            }
        }
        Self { blocks: Blocks::Resident(blocks), states: None, placement: placement.clone() }
    }

    /// Returns the blocks with updates of their outputs, as `update` has them by the index of the block among these.
    pub(crate) fn adapted<'a>(
        &'a self,
        update: impl Fn(usize, LoraLayer) -> Option<LowRank> + 'a,
    ) -> impl Iterator<Item = Block> + 'a {
        let blocks: &[Block] = match &self.blocks {
            Blocks::Resident(blocks) => blocks,
            _ => &[],
        };
        let of_block =
            move |(index, block): (usize, &Block)| block.clone().adapted(|layer| update(index, layer));
        blocks.iter().enumerate().map(of_block)
    }

    /// Returns the number of blocks.
    pub(crate) fn len(&self) -> usize {
        match &self.blocks {
            Blocks::Resident(blocks) | Blocks::Quantized(blocks) => blocks.len(),
            Blocks::Streamed(stream) => stream.specs.len(),
        }
    }

    /// Returns how many inputs of `tokens` tokens of this width should be encoded at once, if every pass has to prepare the
    /// blocks.
    pub(crate) fn preferred_rows(&self, tokens: usize, width: usize) -> Option<usize> {
        let row = (COPIES * tokens * width * 4) as u64;
        Some(usize::try_from(self.states? / row.max(1)).unwrap_or(usize::MAX).clamp(1, 4096))
    }

    /// Passes the states of every micro-batch through the first `count` blocks; `step` applies the block of an index.
    pub(crate) fn apply<S: Clone + Send + Sync>(
        &self,
        mut states: Vec<S>,
        count: usize,
        device: &Device,
        step: impl Fn(usize, &Block, S) -> S + Sync,
    ) -> Result<Vec<S>, EncodeError> {
        if let Blocks::Resident(blocks) = &self.blocks {
            return concurrent_map(device, &states, |state| {
                let blocks = blocks.iter().take(count).enumerate();
                Ok(blocks.fold(state.clone(), |state, (index, block)| step(index, block, state)))
            });
        }
        for index in 0..count.min(self.len()) {
            let block = self.block(index)?;
            states = concurrent_map(device, &states, |state| {
                Ok::<_, EncodeError>(step(index, &block, state.clone()))
            })?;
        }
        Ok(states)
    }

    /// Returns a block to compute with.
    fn block(&self, index: usize) -> Result<Cow<'_, Block>, EncodeError> {
        let Placement { dtype, device, quantization, .. } = &self.placement;
        let missing = || EncodeError::Weights { reason: format!("no block {index}") };
        match &self.blocks {
            Blocks::Resident(blocks) => Ok(Cow::Borrowed(blocks.get(index).ok_or_else(missing)?)),
            Blocks::Quantized(blocks) => {
                let block = blocks.get(index).ok_or_else(missing)?.dequantized(*dtype, device);
                Ok(Cow::Owned(self.placement.packed(block)))
            }
            Blocks::Streamed(stream) => {
                let block = stream.read(index, &self.placement);
                let block = block.map_err(|error| EncodeError::Weights { reason: error.to_string() })?;
                // With the values of the same block in memory, so that features do not depend on the memory.
                Ok(Cow::Owned(self.placement.packed(match quantization {
                    Some(quantization) => block.quantized(*quantization).dequantized(*dtype, device),
                    None => block,
                })))
            }
        }
    }
}

impl Stream {
    fn read(&self, index: usize, placement: &Placement) -> Result<Block, ModelError> {
        let mut weights = self.checkpoint.reopened()?.weights(&self.map, placement.dtype, &placement.device);
        let block = Block::load(&mut weights, &name(index), &self.specs[index]);
        weights.check()?;
        Ok(placement.fused(index, &self.specs[index], block))
    }
}

/// Checks that the inputs of all layers can be divided among scales.
fn check_quantizable(specs: &[BlockSpec], quantization: Quantization) -> Result<(), ConfigError> {
    let inputs = |spec: &BlockSpec| {
        let attention = &spec.attention;
        [spec.width, attention.heads * attention.head_width, spec.feed_forward.width]
    };
    match specs.iter().flat_map(inputs).find(|inputs| !Linear::is_quantizable(*inputs)) {
        None => Ok(()),
        Some(inputs) => Err(ConfigError {
            field: "quantization".to_owned(),
            found: quantization.to_string(),
            expected: format!("none: a layer has {inputs} inputs, which are no multiple of 8"),
        }),
    }
}

fn name(index: usize) -> String {
    format!("blocks.{index}")
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Distribution, Tensor, TensorData};

    use super::*;
    use crate::blocks::{Activation, Attend};
    use crate::spec::{AttentionSpec, FeedForwardSpec, NormSpec};

    const WIDTH: usize = 32;

    fn specs(inner: usize) -> Vec<BlockSpec> {
        let feed_forward = FeedForwardSpec::plain(inner, Activation::Gelu);
        vec![
            BlockSpec::pre_norm(WIDTH, AttentionSpec::plain(WIDTH, 4), feed_forward, NormSpec::layer(1e-6));
            6
        ]
    }

    fn checkpoint(specs: &[BlockSpec]) -> Checkpoint {
        let (mut tensors, device) = (Vec::<(String, TensorData)>::new(), Device::flex());
        for (index, spec) in specs.iter().enumerate() {
            let inner = spec.feed_forward.width;
            let linears = [
                ("attention.query", WIDTH, WIDTH),
                ("attention.key", WIDTH, WIDTH),
                ("attention.value", WIDTH, WIDTH),
                ("attention.output", WIDTH, WIDTH),
                ("mlp.up", inner, WIDTH),
                ("mlp.down", WIDTH, inner),
            ];
            let mut add = |name: &str, tensor: Tensor<2>| {
                let [rows, columns] = tensor.dims();
                let shape = if columns == 1 { vec![rows] } else { vec![rows, columns] };
                let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
                tensors.push((format!("blocks.{index}.{name}"), TensorData::new(values, shape)));
            };
            for (name, output, input) in linears {
                let normal = Distribution::Normal(0.0, (input as f64).powf(-0.5));
                add(&format!("{name}.weight"), Tensor::random([output, input], normal, &device));
                add(&format!("{name}.bias"), Tensor::random([output, 1], normal, &device));
            }
            for norm in ["norm1", "norm2"] {
                add(&format!("{norm}.weight"), Tensor::ones([WIDTH, 1], &device));
                add(&format!("{norm}.bias"), Tensor::zeros([WIDTH, 1], &device));
            }
        }
        Checkpoint::of(tensors)
    }

    fn load(
        specs: &[BlockSpec],
        checkpoint: &Checkpoint,
        memory: Option<u64>,
        quantization: Option<Quantization>,
    ) -> Result<Layers, ModelError> {
        let placement = Placement { memory, quantization, ..Placement::new(DType::F32, &Device::flex()) };
        let map = WeightMap::default();
        let mut weights = checkpoint.weights(&map, DType::F32, &Device::flex());
        let layers = Layers::load(&mut weights, specs, (checkpoint, &map), &placement)?;
        weights.finish()?;
        Ok(layers)
    }

    fn states(layers: &Layers) -> Vec<f32> {
        let x = Tensor::<1, burn::tensor::Int>::arange(0..(8 * WIDTH) as i64, &Device::flex()).float().sin();
        let step = |_: usize, block: &Block, x| block.forward(x, 2, &Attend::default());
        let states = layers.apply(vec![x.reshape([8, WIDTH])], layers.len(), &Device::flex(), step).unwrap();
        states[0].clone().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn quantized_blocks_change_states_little_and_are_the_same_in_any_memory() {
        let specs = specs(64);
        let checkpoint = checkpoint(&specs);
        let int8 = Some(Quantization::Int8);
        let block = 4 * specs[0].parameters();
        let [exact, quantized, streamed] = [(None, None), (None, int8), (Some(5 * block / 2), int8)]
            .map(|(memory, quantization)| load(&specs, &checkpoint, memory, quantization).unwrap());
        assert!(matches!(exact.blocks, Blocks::Resident(_)) && exact.preferred_rows(1, 1).is_none());
        assert!(matches!(quantized.blocks, Blocks::Quantized(_)) && quantized.preferred_rows(1, 1).is_some());
        assert!(matches!(streamed.blocks, Blocks::Streamed(_)));
        let [exact, quantized, streamed] = [exact, quantized, streamed].map(|layers| states(&layers));
        assert_eq!(quantized, streamed);
        assert_ne!(quantized, exact);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let cosine = dot(&quantized, &exact) / (dot(&quantized, &quantized) * dot(&exact, &exact)).sqrt();
        assert!(cosine > 0.999, "{cosine}");
    }

    #[test]
    fn layers_that_cannot_be_quantized_are_refused() {
        let specs = specs(36);
        let error = load(&specs, &checkpoint(&specs), None, Some(Quantization::Int8)).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`quantization` is int8, expected none: a layer has 36 inputs, which are no multiple of 8"
        );
    }
}
