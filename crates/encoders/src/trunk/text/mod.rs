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
use sail_core::{EncodeError, TextEncoder, TextFeatures, TokenBatch, TowerError};
use sail_support::cpu::concurrent_map;

use self::embeddings::Embeddings;
use self::head::Head;
use self::relations::Relations;
use self::tokens::Tokens;
use super::Placement;
use super::layers::Layers;
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

    /// Passes several batches through the model, each block with all of them before the next.
    fn encode(&self, batches: &[TokenBatch]) -> Result<Vec<TextFeatures>, EncodeError> {
        let checked = batches.iter().map(|batch| Tokens::check(batch, &self.spec));
        let checked = checked.collect::<Result<Vec<_>, _>>()?;
        let passes = checked.iter().zip(batches).map(|(tokens, batch)| self.embed(tokens, batch)).collect();
        let passes =
            self.layers.apply(passes, self.layers.len(), &self.device, |index, block, pass: Pass| {
                let Some(attend) = pass.attends.get(self.relations.kind(index)) else { return pass };
                let states = block.forward(pass.states, pass.rows, attend);
                Pass { states, ..pass }
            })?;
        let finished = passes.into_iter().zip(&checked).zip(batches);
        Ok(finished.map(|((pass, tokens), batch)| self.finish(pass.states, tokens, batch)).collect())
    }

    fn embed(&self, tokens: &Tokens, batch: &TokenBatch) -> Pass {
        let [rows, length] = batch.ids.dims();
        let states = self.embeddings.forward(batch.ids.clone(), tokens.positions(&self.device));
        let attends = self.relations.attends(tokens.padding(&batch.mask), length, &self.device);
        Pass { rows, states, attends }
    }

    /// Applies the norm and the head to the states after the blocks.
    fn finish(&self, states: Tensor<2>, tokens: &Tokens, batch: &TokenBatch) -> TextFeatures {
        let [rows, length] = batch.ids.dims();
        let states = match &self.norm {
            Some(norm) => norm.forward(states),
            None => states,
        };
        let pooled = tokens.pool(&states);
        let (states, pooled) = match &self.head {
            Some(head) => head.forward(states, pooled),
            None => (states, None),
        };
        TextFeatures {
            tokens: states.reshape([rows, length, self.spec.width]).cast(DType::F32),
            mask: batch.mask.clone(),
            pooled: pooled.map(|pooled| pooled.cast(DType::F32)),
        }
    }

    /// The features of texts without tokens.
    fn nothing(&self, batch: TokenBatch) -> TextFeatures {
        let [rows, length] = batch.ids.dims();
        let tokens = Tensor::zeros([rows, length, self.spec.width], &self.device);
        let pooled = self.spec.pooled_width().map(|width| Tensor::zeros([rows, width], &self.device));
        TextFeatures { tokens, mask: batch.mask, pooled }
    }
}

impl TextEncoder for TextTrunk {
    fn encode_texts(&self, batch: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let [rows, length] = batch.ids.dims();
        if rows * length == 0 {
            return Ok(self.nothing(batch));
        }
        let mut features = self.encode(std::slice::from_ref(&batch))?;
        Ok(features.pop().unwrap_or_else(|| self.nothing(batch)))
    }

    fn embed_batches(
        &self,
        batches: &[TokenBatch],
        device: &Device,
        pool: &(dyn Fn(TextFeatures) -> Result<Tensor<2>, TowerError> + Sync),
    ) -> Result<Vec<Tensor<2>>, TowerError> {
        let has_tokens = |batch: &TokenBatch| batch.ids.dims().iter().all(|size| *size > 0);
        if self.preferred_rows().is_none() || !batches.iter().all(has_tokens) {
            return concurrent_map(device, batches, |batch| pool(self.encode_texts(batch.clone())?));
        }
        self.encode(batches)?.into_iter().map(pool).collect()
    }

    fn preferred_rows(&self) -> Option<usize> {
        /// Tokens of a caption.
        const TOKENS: usize = 64;
        self.layers.preferred_rows(TOKENS, self.spec.width)
    }
}
