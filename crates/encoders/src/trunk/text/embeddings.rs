//! Embeddings of tokens.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, module};

use crate::blocks::Norm;
use crate::pretrained::Weights;
use crate::spec::{TextPositions, TextSpec};

/// The sum of the embeddings of words, positions and token types, normed.
#[derive(Debug)]
pub(super) struct Embeddings {
    /// `[vocabulary, width]`
    word: Tensor<2>,
    scale: Option<f64>,
    /// `[positions, width]`, including the first token type.
    position: Option<Tensor<2>>,
    /// The first token type, `[1, 1, width]`, if there are no positions.
    token_type: Option<Tensor<3>>,
    norm: Option<Norm>,
}

impl Embeddings {
    pub(super) fn load(weights: &mut Weights, spec: &TextSpec) -> Self {
        let (width, dtype) = (spec.width, weights.dtype());
        let word = weights.take("embeddings.word.weight", [spec.vocabulary, width]).cast(dtype);
        let position = match spec.positions {
            TextPositions::None => None,
            // The width is that of the files only if they have the embeddings of words.
            TextPositions::SinCos { .. } if weights.check().is_err() => None,
            TextPositions::SinCos { count } => Some(sin_cos(count, width, weights.device())),
            TextPositions::Table { count, .. } => {
                Some(weights.take("embeddings.position.weight", [count, width]))
            }
        };
        // All tokens of a single text have the first type.
        let token_type: Option<Tensor<2>> = (spec.token_types > 0)
            .then(|| weights.take("embeddings.token_type.weight", [spec.token_types, width]).narrow(0, 0, 1));
        let (position, token_type) = match (position, token_type) {
            (Some(position), Some(first)) => (Some(position.cast(DType::F32) + first.cast(DType::F32)), None),
            other => other,
        };
        let norm = spec.embedding_norm;
        Self {
            word,
            scale: spec.embedding_scale,
            position: position.map(|position| position.cast(dtype)),
            token_type: token_type.map(|first| first.cast(dtype).unsqueeze()),
            norm: norm.map(|norm| Norm::load(weights, "embeddings.norm", width, norm).cast(dtype)),
        }
    }

    /// Embeds tokens.
    ///
    /// # Shapes
    /// - ids and positions: `[batch, length]`
    /// - result: `[batch * length, width]`
    pub(super) fn forward(&self, ids: Tensor<2, Int>, positions: Option<Tensor<2, Int>>) -> Tensor<2> {
        let mut states = module::embedding(self.word.clone(), ids);
        if let Some(scale) = self.scale {
            states = states * scale;
        }
        if let (Some(table), Some(positions)) = (&self.position, positions) {
            states = states + module::embedding(table.clone(), positions);
        }
        if let Some(first) = &self.token_type {
            states = states + first.clone();
        }
        if let Some(norm) = &self.norm {
            states = norm.forward(states);
        }
        states.flatten(0, 1)
    }
}

/// Returns sines, then cosines, of the positions with frequencies `10000^(-i / (width / 2 - 1))`, as in tensor2tensor; the
/// last value of an odd width is zero.
fn sin_cos(count: usize, width: usize, device: &Device) -> Tensor<2> {
    let half = width / 2;
    let mut values = Vec::with_capacity(count * width);
    for position in 0..count {
        let angle = |i: usize| position as f64 * 10_000_f64.powf(-(i as f64) / (half as f64 - 1.0));
        values.extend((0..half).map(|i| angle(i).sin() as f32));
        values.extend((0..half).map(|i| angle(i).cos() as f32));
        values.resize((position + 1) * width, 0.0);
    }
    Tensor::from_data(TensorData::new(values, [count, width]), device)
}
