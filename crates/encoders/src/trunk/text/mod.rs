//! The text trunk: one forward pass for all text transformers.
//!
//! | name | shape |
//! |---|---|
//! | `embeddings.word.weight` | `[vocabulary, width]` |
//! | `embeddings.position.weight`, `embeddings.token_type.weight` | `[count, width]` |
//! | `embeddings.norm` | `[width]` |
//! | `relative.weight` | `[buckets, heads]` |
//! | `blocks.N` | see [`blocks`](crate::blocks) |
//! | `norm` | `[width]` |
//! | `projection` (`.weight`, `.bias`) | `[projection, width]`, `[projection]` |
//! | `latent` | see [`Latent`](latent::Latent) |

mod embeddings;
mod head;
mod latent;
mod relations;
mod tokens;

use burn::tensor::{DType, Device, Tensor};
use sail_core::{EncodeError, Layer, TextEncoder, TextFeatures, TokenBatch, TowerError};
use sail_support::cpu::concurrent_map;

use self::embeddings::Embeddings;
use self::head::Head;
use self::relations::Relations;
use self::tokens::Tokens;
use super::Placement;
use super::layers::Layers;
use super::taken::{Taken, depth};
use crate::blocks::{Attend, Norm};
use crate::families::Plan;
use crate::pretrained::{Checkpoint, ModelError};
use crate::spec::TextSpec;

/// A text transformer for inference, which computes what its specification says.
///
/// Positions in a table count unmasked tokens and all others are relative, so padding on either side has no effect.
pub(crate) struct TextTrunk {
    spec: TextSpec,
    embeddings: Embeddings,
    relations: Relations,
    layers: Layers,
    norm: Option<Norm>,
    head: Option<Head>,
    device: Device,
}

/// A batch on its way through the blocks.
#[derive(Clone)]
struct Pass {
    rows: usize,
    /// `[rows * length, width]`
    states: Tensor<2>,
    taken: Taken,
    /// For every kind of attention.
    attends: Vec<Attend>,
}

impl TextTrunk {
    /// Loads the weights; blocks that exceed the memory are read for every pass.
    ///
    /// # Errors
    /// Returns [`ModelError::Tensors`] if the tensors of the checkpoint do not match the specification, and
    /// [`ModelError::Option`] if the memory is too small for two blocks, or the blocks cannot be quantized.
    pub(crate) fn load(
        plan: Plan<TextSpec>,
        checkpoint: &Checkpoint,
        placement: &Placement,
    ) -> Result<Self, ModelError> {
        let Plan { spec, map } = plan;
        let Placement { dtype, device, .. } = placement;
        let mut weights = checkpoint.weights(&map, *dtype, device);
        let embeddings = Embeddings::load(&mut weights, &spec);
        let relations = Relations::load(&mut weights, &spec);
        let layers = Layers::load(&mut weights, &spec.blocks, (checkpoint, &map), placement)?;
        let norm =
            spec.final_norm.map(|norm| Norm::load(&mut weights, "norm", spec.width, norm).cast(*dtype));
        let head = spec.head.map(|head| Head::load(&mut weights, spec.width, head));
        weights.finish()?;
        Ok(Self { spec, embeddings, relations, layers, norm, head, device: device.clone() })
    }

    /// Passes several batches through the model, each block with all of them before the next. Returns the features of every
    /// layer for each batch.
    fn encode(
        &self,
        batches: &[TokenBatch],
        layers: &[Layer],
    ) -> Result<Vec<Vec<TextFeatures>>, EncodeError> {
        let depths = layers.iter().map(|layer| self.depth(*layer)).collect::<Result<Vec<_>, _>>()?;
        let last = depths.iter().copied().max().unwrap_or(0);
        let checked = batches.iter().map(|batch| Tokens::check(batch, &self.spec));
        let checked = checked.collect::<Result<Vec<_>, _>>()?;
        let passes = checked.iter().zip(batches).map(|(tokens, batch)| self.embed(tokens, batch, &depths));
        let passes =
            self.layers.apply(passes.collect(), last, &self.device, |index, block, pass: Pass| {
                let Some(attend) = pass.attends.get(self.relations.kind(index)) else { return pass };
                let states = block.forward(pass.states, pass.rows, attend);
                Pass { taken: pass.taken.keep(index + 1, &depths, &states), states, ..pass }
            })?;
        let of_batch = |((pass, tokens), batch): ((Pass, &Tokens), &TokenBatch)| {
            let of_layer = |(layer, depth): (&Layer, &usize)| {
                // Every depth was passed.
                let states = pass.taken.get(*depth).unwrap_or(&pass.states).clone();
                self.finish(states, tokens, batch, *layer)
            };
            layers.iter().zip(&depths).map(of_layer).collect()
        };
        Ok(passes.into_iter().zip(&checked).zip(batches).map(of_batch).collect())
    }

    /// Returns the number of blocks before the states of a layer.
    fn depth(&self, layer: Layer) -> Result<usize, EncodeError> {
        let blocks = self.layers.len();
        depth(layer, blocks).ok_or_else(|| EncodeError::Layer {
            requested: layer,
            expected: format!("the last layer, or -1 to -{}", blocks + 1),
        })
    }

    fn embed(&self, tokens: &Tokens, batch: &TokenBatch, depths: &[usize]) -> Pass {
        let [rows, length] = batch.ids.dims();
        let states = self.embeddings.forward(batch.ids.clone(), tokens.positions(&self.device));
        let attends = self.relations.attends(tokens.padding(&batch.mask), length, &self.device);
        Pass { rows, taken: Taken::default().keep(0, depths, &states), states, attends }
    }

    /// Applies the norm and the head to the states of the last layer.
    fn finish(&self, states: Tensor<2>, tokens: &Tokens, batch: &TokenBatch, layer: Layer) -> TextFeatures {
        let [rows, length] = batch.ids.dims();
        let is_last = layer == Layer::Last;
        let states = match &self.norm {
            Some(norm) if is_last => norm.forward(states),
            _ => states,
        };
        let (states, pooled) = match &self.head {
            Some(head) if is_last => {
                let pooled = tokens.pool(&states);
                head.forward(states, pooled)
            }
            _ => (states, None),
        };
        TextFeatures {
            tokens: states.reshape([rows, length, self.spec.width]).cast(DType::F32),
            mask: batch.mask.clone(),
            pooled: pooled.map(|pooled| pooled.cast(DType::F32)),
        }
    }

    /// The features of texts without tokens.
    fn nothing(&self, batch: TokenBatch, layer: Layer) -> TextFeatures {
        let [rows, length] = batch.ids.dims();
        let tokens = Tensor::zeros([rows, length, self.spec.width], &self.device);
        let pooled_width = self.spec.pooled_width().filter(|_| layer == Layer::Last);
        let pooled = pooled_width.map(|width| Tensor::zeros([rows, width], &self.device));
        TextFeatures { tokens, mask: batch.mask, pooled }
    }
}

impl TextEncoder for TextTrunk {
    fn encode_texts(&self, batch: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let mut features = self.encode_layers(batch.clone(), &[Layer::Last])?;
        Ok(features.pop().unwrap_or_else(|| self.nothing(batch, Layer::Last)))
    }

    fn encode_layers(&self, batch: TokenBatch, layers: &[Layer]) -> Result<Vec<TextFeatures>, EncodeError> {
        let [rows, length] = batch.ids.dims();
        if rows * length == 0 {
            let nothing = |layer: &Layer| self.depth(*layer).map(|_| self.nothing(batch.clone(), *layer));
            return layers.iter().map(nothing).collect();
        }
        let mut features = self.encode(std::slice::from_ref(&batch), layers)?;
        Ok(features.pop().unwrap_or_default())
    }

    fn embed_layers(
        &self,
        batches: &[TokenBatch],
        layers: &[Layer],
        device: &Device,
        pool: &(dyn Fn(TextFeatures) -> Result<Tensor<2>, TowerError> + Sync),
    ) -> Result<Vec<Vec<Tensor<2>>>, TowerError> {
        let pool_all =
            |features: Vec<TextFeatures>| features.into_iter().map(pool).collect::<Result<Vec<_>, _>>();
        let has_tokens = |batch: &TokenBatch| batch.ids.dims().iter().all(|size| *size > 0);
        if self.preferred_rows().is_none() || !batches.iter().all(has_tokens) {
            return concurrent_map(device, batches, |batch| {
                pool_all(self.encode_layers(batch.clone(), layers)?)
            });
        }
        self.encode(batches, layers)?.into_iter().map(pool_all).collect()
    }

    fn preferred_rows(&self) -> Option<usize> {
        /// Tokens of a caption.
        const TOKENS: usize = 64;
        self.layers.preferred_rows(TOKENS, self.spec.width)
    }
}
