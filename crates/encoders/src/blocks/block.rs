//! A transformer block.

use burn::tensor::{DType, Device, Tensor};
use sail_core::{LoraLayer, LowRank, Quantization};
use sail_matmul::Products;
use sail_support::cpu::concurrent_map;

use super::{Attend, Attention, FeedForward, Linear, Norm};
use crate::pretrained::Weights;
use crate::spec::{BlockSpec, Order};

/// Attention and a feed-forward network with residual connections, see [`BlockSpec`].
#[derive(Debug, Clone)]
pub(crate) struct Block {
    order: Order,
    attention: Attention,
    feed_forward: FeedForward,
    /// Before, or after in post-norm order; of attention and of the feed-forward network.
    norms: [Option<Norm>; 2],
    /// After, in sandwich order.
    post_norms: [Option<Norm>; 2],
    scales: [Option<Tensor<1>>; 2],
}

impl Block {
    /// Takes the tensors under `name`, see [`blocks`](super).
    pub(crate) fn load(weights: &mut Weights, name: &str, spec: &BlockSpec) -> Self {
        let width = spec.width;
        let attention = Attention::load(weights, &format!("{name}.attention"), width, &spec.attention);
        let feed_forward = FeedForward::load(weights, &format!("{name}.mlp"), width, &spec.feed_forward);
        let mut norm = |part: &str, exists: bool| {
            exists.then(|| Norm::load(weights, &format!("{name}.{part}"), width, spec.norm))
        };
        let norms = [norm("norm1", spec.attention_norm), norm("norm2", true)];
        let is_sandwich = spec.order == Order::Sandwich;
        let post_norms = [norm("post_norm1", is_sandwich), norm("post_norm2", is_sandwich)];
        let mut scale =
            |part: &str| spec.layer_scale.then(|| weights.take(&format!("{name}.{part}"), [width]));
        let scales = [scale("scale1"), scale("scale2")];
        Self { order: spec.order, attention, feed_forward, norms, post_norms, scales }
    }

    /// Rewrites the block so that fewer and larger operations give the same result, and casts it.
    pub(crate) fn fuse(self, spec: &BlockSpec, dtype: DType) -> Self {
        let [scale1, scale2] = self.scales;
        let cast = |norms: [Option<Norm>; 2]| norms.map(|norm| norm.map(|norm| norm.cast(dtype)));
        // Layer scale follows a norm in the other orders.
        let (folded, scales) = match spec.order {
            Order::Pre | Order::Post => ([scale1, scale2], [None, None]),
            Order::Sandwich | Order::ResidualPost => {
                ([None, None], [scale1, scale2].map(|scale| scale.map(|scale| scale.cast(dtype))))
            }
        };
        let [scale1, scale2] = folded;
        Self {
            order: self.order,
            attention: self.attention.fuse(&spec.attention, scale1, dtype),
            feed_forward: self.feed_forward.fuse(scale2, dtype),
            norms: cast(self.norms),
            post_norms: cast(self.post_norms),
            scales,
        }
    }

    /// Keeps the weights of the linear layers as integers; the block can be used after [`dequantized`](Self::dequantized).
    pub(crate) fn quantized(self, quantization: Quantization) -> Self {
        self.map_linears(|_, linear| linear.quantized(quantization))
    }

    /// Returns a block to compute with in `dtype`.
    pub(crate) fn dequantized(&self, dtype: DType, device: &Device) -> Self {
        let mut linears = Vec::new();
        self.clone().map_linears(|_, linear| {
            linears.push(linear.clone());
            linear
        });
        // burn dequantizes a matrix on one core.
        let linears = concurrent_map(device, &linears, |linear| {
            Ok::<_, std::convert::Infallible>(linear.dequantized(dtype))
        });
        let mut linears = linears.unwrap_or_else(|error| match error {}).into_iter();
        self.clone().map_linears(|_, linear| linears.next().unwrap_or(linear))
    }

    /// Packs the weights of the linear layers if the products are in bf16.
    pub(crate) fn packed(self, products: Products) -> Self {
        self.map_linears(|_, linear| linear.packed(products))
    }

    /// Adds updates to the outputs of the layers that have one. The block must not be fused.
    pub(crate) fn adapted(self, update: impl Fn(LoraLayer) -> Option<LowRank>) -> Self {
        self.map_linears(|name, linear| match name.and_then(&update) {
            Some(low_rank) => linear.adapted(low_rank),
            None => linear,
        })
    }

    /// Adds updates to the weights of the layers that have one. The block must not be fused.
    pub(crate) fn merged(self, update: impl Fn(LoraLayer) -> Option<LowRank>) -> Self {
        self.map_linears(|name, linear| match name.and_then(&update) {
            Some(low_rank) => linear.merged(&low_rank),
            None => linear,
        })
    }

    fn map_linears(self, mut f: impl FnMut(Option<LoraLayer>, Linear) -> Linear) -> Self {
        let attention = self.attention.map_linears(&mut f);
        Self { attention, feed_forward: self.feed_forward.map_linears(&mut f), ..self }
    }

    /// # Shapes
    /// - x and result: `[batch * tokens, width]`
    pub(crate) fn forward(&self, x: Tensor<2>, batch: usize, attend: &Attend) -> Tensor<2> {
        let x = self.residual(0, x, |x| self.attention.forward(x, batch, attend));
        self.residual(1, x, |x| self.feed_forward.forward(x))
    }

    /// Applies the block with query-query attention and without the feed-forward network.
    ///
    /// # Shapes
    /// - x and result: `[batch * tokens, width]`
    pub(crate) fn forward_query_query(&self, x: Tensor<2>, batch: usize, attend: &Attend) -> Tensor<2> {
        self.residual(0, x, |x| self.attention.forward_query_query(x, batch, attend))
    }

    /// Applies attention (0) or feed-forward network (1) with norms, scale and residual connection.
    fn residual(&self, part: usize, x: Tensor<2>, f: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let norm = |norms: &[Option<Norm>; 2], x: Tensor<2>| match norms.get(part).and_then(Option::as_ref) {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let scale = |x: Tensor<2>| match self.scales.get(part).and_then(Option::as_ref) {
            Some(scale) => x * scale.clone().unsqueeze(),
            None => x,
        };
        match self.order {
            Order::Pre => scale(f(norm(&self.norms, x.clone()))) + x,
            Order::Post => norm(&self.norms, scale(f(x.clone())) + x),
            Order::Sandwich => scale(norm(&self.post_norms, f(norm(&self.norms, x.clone())))) + x,
            Order::ResidualPost => scale(norm(&self.norms, f(x.clone()))) + x,
        }
    }
}
