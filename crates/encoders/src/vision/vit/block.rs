//! A block of a Vision Transformer.

use burn::nn::LayerNorm;
use burn::tensor::{Tensor, activation};
use sail_core::Attention;

use super::dense::Dense;
use crate::activation::Activation;
use crate::attention::multi_head;

/// Pre-norm attention and feed-forward network with residuals. Layer scale is folded into `output` and `second`.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) norm1: LayerNorm,
    pub(super) query: Dense,
    pub(super) key_value: Dense,
    pub(super) heads: usize,
    pub(super) output: Dense,
    pub(super) norm2: LayerNorm,
    pub(super) first: Dense,
    pub(super) gating: Gating,
    pub(super) second: Dense,
}

/// The nonlinearity between the linear layers of the feed-forward network.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gating {
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

    /// Applies the block with query-query attention and without the feed-forward network.
    ///
    /// # Shapes
    /// - x and result: `[batch * tokens, hidden]`
    pub(super) fn forward_query_query(&self, x: Tensor<2>, batch: usize) -> Tensor<2> {
        self.attend(self.norm1.forward(x.clone()), batch, Attention::QueryQuery) + x
    }

    fn attend(&self, x: Tensor<2>, batch: usize, attention: Attention) -> Tensor<2> {
        let [rows, hidden] = x.dims();
        let [tokens, width] = [rows / batch, hidden / self.heads];
        let query = self.query.forward(x.clone()).reshape([batch, tokens, self.heads, width]);
        let key_value = self.key_value.forward(x).reshape([batch, tokens, 2 * self.heads, width]);
        let key = match attention {
            Attention::Standard => key_value.clone().narrow(2, 0, self.heads),
            Attention::QueryQuery => query.clone(),
        };
        let value = key_value.narrow(2, self.heads, self.heads);
        self.output.forward(multi_head(query, key, value, None, None))
    }

    fn feed_forward(&self, x: Tensor<2>) -> Tensor<2> {
        let inner = match self.gating {
            Gating::Activation(activation) => {
                activation.linear(x, self.first.weight.clone(), self.first.bias.clone())
            }
            Gating::SwiGlu => {
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
