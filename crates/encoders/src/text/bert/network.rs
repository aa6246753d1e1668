//! The tensors of a BERT-style encoder and the pass through them.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu_approximate, relu};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::config::{Activation, Config};
use super::relative::buckets;
use crate::gelu::gelu;

/// Embeddings and layers. Its parameters are created when the weights are loaded into them, not before.
#[derive(Module, Debug)]
pub(crate) struct Network {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    relative: Option<Embedding>,
}

#[derive(Module, Debug)]
struct Embeddings {
    word: Embedding,
    position: Embedding,
    token_type: Option<Embedding>,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    mix: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

/// A batch as the network takes it.
pub(crate) struct Tokens {
    /// `[batch, length]`
    pub(crate) ids: Tensor<2, Int>,
    /// `[batch, length]`
    pub(crate) positions: Tensor<2, Int>,
    /// True where a token is padding, `[batch, length]`; nothing where none is.
    pub(crate) padding: Option<Tensor<2, Bool>>,
}

impl Network {
    pub(crate) fn new(config: &Config, device: &Device) -> Self {
        let embedding = |rows, columns| EmbeddingConfig::new(rows, columns).init(device);
        let linear = |input, output| LinearConfig::new(input, output).init(device);
        let norm = || LayerNormConfig::new(config.hidden).with_epsilon(config.epsilon).init(device);
        let Config { hidden, intermediate, .. } = *config;
        let layer = |_| Layer {
            query: linear(hidden, hidden),
            key: linear(hidden, hidden),
            value: linear(hidden, hidden),
            mix: linear(hidden, hidden),
            attention_norm: norm(),
            up: linear(hidden, intermediate),
            down: linear(intermediate, hidden),
            output_norm: norm(),
        };
        Self {
            embeddings: Embeddings {
                word: embedding(config.vocabulary, hidden),
                position: embedding(config.positions, hidden),
                token_type: config.types.map(|types| embedding(types, hidden)),
                norm: norm(),
            },
            layers: (0..config.layers).map(layer).collect(),
            relative: config.buckets.map(|buckets| embedding(buckets, config.heads)),
        }
    }

    /// Adds the embedding of the first token type, the one of all tokens of a single text, to those of the positions.
    pub(crate) fn fold_token_types(mut self) -> Self {
        if let Some(token_type) = self.embeddings.token_type.take() {
            let first = token_type.weight.val().narrow(0, 0, 1);
            let position = &mut self.embeddings.position;
            position.weight = position.weight.clone().map(|weight| weight + first);
        }
        self
    }

    /// The token states after the last layer, `[batch, length, hidden]`.
    pub(crate) fn forward(&self, tokens: Tokens, config: &Config) -> Tensor<3> {
        let [batch, length] = tokens.ids.dims();
        let Embeddings { word, position, norm, .. } = &self.embeddings;
        let states = word.forward(tokens.ids) + position.forward(tokens.positions);
        let mut states = norm.forward(states).reshape([batch * length, config.hidden]);
        let padding =
            tokens.padding.map(|padding| padding.reshape([batch, 1, 1, length]).repeat_dim(2, length));
        let bias = self.relative.as_ref().map(|relative| {
            let pairs = TensorData::new(buckets(length), [1, length * length]);
            let bias = relative.forward(Tensor::<2, Int>::from_data(pairs, &states.device()));
            bias.reshape([1, length, length, config.heads]).permute([0, 3, 1, 2])
        });
        let heads = [batch, length, config.heads, config.hidden / config.heads];
        for layer in &self.layers {
            let mixed = layer.attend(states.clone(), heads, padding.clone(), bias.clone());
            states = layer.attention_norm.forward(states + mixed);
            let inner = config.activation.apply(layer.up.forward(states.clone()));
            states = layer.output_norm.forward(states + layer.down.forward(inner));
        }
        states.reshape([batch, length, config.hidden])
    }
}

impl Layer {
    /// Multi-head attention over `[batch * length, hidden]`; `heads` is `[batch, length, heads, width]`.
    fn attend(
        &self,
        states: Tensor<2>,
        heads: [usize; 4],
        padding: Option<Tensor<4, Bool>>,
        bias: Option<Tensor<4>>,
    ) -> Tensor<2> {
        let split = |linear: &Linear| linear.forward(states.clone()).reshape(heads).swap_dims(1, 2);
        let (query, key, value) = (split(&self.query), split(&self.key), split(&self.value));
        let mixed = attention(query, key, value, padding, bias, AttentionModuleOptions::default());
        self.mix.forward(mixed.swap_dims(1, 2).reshape(states.dims()))
    }
}

impl Activation {
    fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Activation::Gelu => gelu(x),
            Activation::GeluTanh => gelu_approximate(x),
            Activation::Relu => relu(x),
        }
    }
}
