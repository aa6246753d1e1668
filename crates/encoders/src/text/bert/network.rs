//! The network of the BERT-style encoders.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::config::Config;
use super::relative::buckets;
use crate::activation::Activation;
use crate::attention::multi_head;

/// Embeddings and layers. Parameters are allocated when the weights are loaded.
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
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

/// The input of the network.
pub(crate) struct Tokens {
    /// `[batch, length]`
    pub(crate) ids: Tensor<2, Int>,
    /// `[batch, length]`
    pub(crate) positions: Tensor<2, Int>,
    /// True for padding, `[batch, length]`; `None` if there is none.
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
            output: linear(hidden, hidden),
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

    /// Adds the embedding of the first token type, which all tokens of a single text have, to the position embeddings.
    pub(crate) fn fold_token_types(mut self) -> Self {
        if let Some(token_type) = self.embeddings.token_type.take() {
            let first = token_type.weight.val().narrow(0, 0, 1);
            let position = &mut self.embeddings.position;
            position.weight = position.weight.clone().map(|weight| weight + first);
        }
        self
    }

    /// Computes the token states after the last layer, `[batch, length, hidden]`.
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
            let attended = layer.attend(states.clone(), heads, padding.clone(), bias.clone());
            states = layer.attention_norm.forward(states + attended);
            let inner = layer.activate(config.activation, states.clone());
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
        let project = |linear: &Linear| linear.forward(states.clone()).reshape(heads);
        let (query, key, value) = (project(&self.query), project(&self.key), project(&self.value));
        self.output.forward(multi_head(query, key, value, padding, bias))
    }

    /// The first layer of the feed-forward network with its activation.
    fn activate(&self, activation: Activation, states: Tensor<2>) -> Tensor<2> {
        activation.linear(states, self.up.weight.val(), self.up.bias.as_ref().map(|bias| bias.val()))
    }
}
