//! One block of a Vision Transformer.

use burn::nn::LayerNorm;
use burn::tensor::{Tensor, activation, module};
use sail_core::Attention;

use super::config::Activation;
use super::dense::Dense;
use crate::gelu::bias_gelu;

/// Pre-norm attention and feed-forward, each with a residual. Layer scale is part of `output` and `second`.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) norm1: LayerNorm,
    pub(super) query: Dense,
    pub(super) key_value: Dense,
    pub(super) heads: usize,
    pub(super) output: Dense,
    pub(super) norm2: LayerNorm,
    pub(super) first: Dense,
    pub(super) mixer: Mixer,
    pub(super) second: Dense,
}

/// What happens between the two linear layers of the feed-forward part.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mixer {
    Activation(Activation),
    SwiGlu,
}

impl Block {
    /// # Shapes
    /// - x and result: `[batch * tokens, hidden]`
    pub(super) fn forward(&self, x: Tensor<2>, batch: usize) -> Tensor<2> {
        let x = self.attend(self.norm1.forward(x.clone()), batch, Attention::Standard) + x;
        self.feed_forward(self.norm2.forward(x.clone())) + x
    }

    /// The block with queries for keys and without its feed-forward half.
    ///
    /// # Shapes
    /// - x and result: `[batch * tokens, hidden]`
    pub(super) fn forward_query_query(&self, x: Tensor<2>, batch: usize) -> Tensor<2> {
        self.attend(self.norm1.forward(x.clone()), batch, Attention::QueryQuery) + x
    }

    fn attend(&self, x: Tensor<2>, batch: usize, attention: Attention) -> Tensor<2> {
        let [rows, hidden] = x.dims();
        let [tokens, size] = [rows / batch, hidden / self.heads];
        let query = self.query.forward(x.clone()).reshape([batch, tokens, self.heads, size]).swap_dims(1, 2);
        let key_value =
            self.key_value.forward(x).reshape([batch, tokens, 2 * self.heads, size]).swap_dims(1, 2);
        let key = match attention {
            Attention::Standard => key_value.clone().narrow(1, 0, self.heads),
            Attention::QueryQuery => query.clone(),
        };
        let value = key_value.narrow(1, self.heads, self.heads);
        let context = module::attention(query, key, value, None, None, Default::default());
        self.output.forward(context.swap_dims(1, 2).reshape([rows, hidden]))
    }

    fn feed_forward(&self, x: Tensor<2>) -> Tensor<2> {
        let inner = match self.mixer {
            Mixer::Activation(Activation::Gelu) => {
                bias_gelu(x.matmul(self.first.weight.clone()), self.first.bias.clone())
            }
            Mixer::Activation(Activation::GeluTanh) => activation::gelu_approximate(self.first.forward(x)),
            Mixer::Activation(Activation::Relu) => activation::relu(self.first.forward(x)),
            Mixer::SwiGlu => {
                let [gate, value] = halves(self.first.forward(x));
                activation::silu(gate) * value
            }
        };
        self.second.forward(inner)
    }
}

fn halves(x: Tensor<2>) -> [Tensor<2>; 2] {
    let width = x.dims()[1] / 2;
    [x.clone().narrow(1, 0, width), x.narrow(1, width, width)]
}
