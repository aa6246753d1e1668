//! A transformer block over the tokens of an image.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{FloatDType, Tensor, module};

use crate::cast::Cast;
use crate::{Mlp, WeightInit, linear};
use sail_matmul::Products;

/// Epsilon of the norms and initial value of the layer scales of DINOv2.
pub(crate) const EPSILON: f64 = 1e-6;
const INITIAL_SCALE: f64 = 1e-5;

/// A block of DINOv2 (Oquab et al. 2023, arXiv 2304.07193): `x += s1 attention(norm(x))`, `x += s2 mlp(norm(x))`, with
/// learned scales `s1` and `s2` per dimension that begin at 1e-5, so that a new block is almost the identity.
#[derive(Module, Debug)]
pub(crate) struct TokenBlock {
    attention_norm: LayerNorm,
    attention: SelfAttention,
    attention_scale: Param<Tensor<1>>,
    mlp_norm: LayerNorm,
    mlp: Mlp,
    mlp_scale: Param<Tensor<1>>,
    /// The dtype of the linear layers and of the attention. Norms and the sums of the residuals are f32.
    #[module(skip)]
    dtype: FloatDType,
}

#[derive(Module, Debug)]
struct SelfAttention {
    query_key_value: Linear,
    output: Linear,
    #[module(skip)]
    heads: usize,
}

impl TokenBlock {
    /// Creates a block of width `dim` with `heads` attention heads, which must divide it, and an MLP of width `4 * dim`.
    pub(crate) fn new(dim: usize, heads: usize, init: &mut WeightInit) -> Self {
        let norm = LayerNormConfig::new(dim).with_epsilon(EPSILON);
        // Of tensors of their own: clones would share a node of the autodiff graph.
        let device = init.device().clone();
        let scale = || Param::from_tensor(Tensor::full([dim], INITIAL_SCALE, &device));
        Self {
            attention_norm: norm.init(init.device()),
            attention: SelfAttention {
                query_key_value: linear(dim, 3 * dim, init),
                output: linear(dim, dim, init),
                heads,
            },
            attention_scale: scale(),
            mlp_norm: norm.init(init.device()),
            mlp: Mlp::new(dim, dim, 4, init),
            mlp_scale: scale(),
            dtype: FloatDType::F32,
        }
    }

    /// # Shapes
    /// - input and output: `[batch, tokens, dim]`
    pub(crate) fn forward_with(&self, x: Tensor<3>, products: Products) -> Tensor<3> {
        let [batch, count, dim] = x.dims();
        let x = x.reshape([batch * count, dim]);
        let normalized = self.attention_norm.forward(x.clone()).cast(self.dtype);
        let attended = self.attention.forward(normalized, batch, products).cast(FloatDType::F32);
        let x = x + attended * self.attention_scale.val().unsqueeze();
        let normalized = self.mlp_norm.forward(x.clone()).cast(self.dtype);
        let hidden = self.mlp.forward_with(normalized, products).cast(FloatDType::F32);
        (x + hidden * self.mlp_scale.val().unsqueeze()).reshape([batch, count, dim])
    }

    /// Returns a copy whose linear layers and attention compute in `dtype`.
    pub(crate) fn computing_in(&self, dtype: FloatDType) -> Self {
        let block = self.clone();
        let (attention, mlp) = (block.attention.map(&mut Cast(dtype)), block.mlp.map(&mut Cast(dtype)));
        Self { attention, mlp, dtype, ..block }
    }
}

impl SelfAttention {
    /// # Shapes
    /// - input and output: `[batch * tokens, dim]`
    fn forward(&self, x: Tensor<2>, batch: usize, products: Products) -> Tensor<2> {
        let [rows, dim] = x.dims();
        let (tokens, width) = (rows / batch.max(1), dim / self.heads);
        let parts = products.linear(&self.query_key_value, x);
        let parts = parts.reshape([batch, tokens, 3 * self.heads, width]).swap_dims(1, 2);
        let [query, key, value] =
            [0, 1, 2].map(|part| parts.clone().narrow(1, part * self.heads, self.heads));
        let context = module::attention(query, key, value, None, None, AttentionModuleOptions::default());
        products.linear(&self.output, context.swap_dims(1, 2).reshape([rows, dim]))
    }
}
