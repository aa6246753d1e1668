//! Latent attention of NV-Embed (arXiv 2405.17428).

use burn::tensor::Tensor;

use crate::blocks::{Activation, FeedForward, Linear, Norm, multi_head};
use crate::pretrained::Weights;
use crate::spec::{FeedForwardSpec, LatentSpec, NormSpec};

/// Epsilon of the layer norms of PyTorch.
const EPSILON: f64 = 1e-5;

/// Attention of the tokens to learned latents, then a gated feed-forward network, each with a residual connection.
///
/// Keys and values are the same for all texts, so they are computed when the weights are loaded. After a problem with the
/// weights, nothing is read and the tensors have no valid shape: then nothing is computed.
///
/// | name under `latent` | shape |
/// |---|---|
/// | `latents` | `[latents, latent_width]` |
/// | `norm`, `norm_context`, `ff_norm` | `[width]`, `[latent_width]`, `[width]` |
/// | `query`, `key`, `value`, `output` | `[out, in]` |
/// | `mlp.up`, `mlp.gate`, `mlp.down` | `[out, in]`, `[out]` |
#[derive(Debug)]
pub(super) struct Latent {
    heads: [usize; 2],
    norm: Norm,
    query: Linear,
    /// `[1, latents, heads, head_width]`
    key: Tensor<4>,
    /// `[1, latents, heads, head_width]`
    value: Tensor<4>,
    output: Linear,
    ff_norm: Norm,
    feed_forward: FeedForward,
}

impl Latent {
    pub(super) fn load(weights: &mut Weights, width: usize, spec: LatentSpec) -> Self {
        let LatentSpec { latents, latent_width, heads, head_width, .. } = spec;
        let (dtype, inner) = (weights.dtype(), heads * head_width);
        let norm = |weights: &mut Weights, name: &str, width| {
            Norm::load(weights, &format!("latent.{name}"), width, NormSpec::layer(EPSILON)).cast(dtype)
        };
        let linear = |weights: &mut Weights, name: &str, sizes| {
            Linear::load(weights, &format!("latent.{name}"), sizes, false).cast(dtype)
        };
        let context: Tensor<2> = weights.take("latent.latents", [latents, latent_width]);
        let context_norm = norm(weights, "norm_context", latent_width);
        let [key, value] = ["key", "value"].map(|name| {
            let linear = linear(weights, name, [latent_width, inner]);
            if weights.check().is_err() {
                return Tensor::zeros([1; 4], weights.device());
            }
            let context = context_norm.forward(context.clone().cast(dtype));
            linear.forward(context).reshape([1, latents, heads, head_width])
        });
        let mlp = FeedForwardSpec::gated(spec.multiplier * width, Activation::Gelu, true);
        let feed_forward = FeedForward::load(weights, "latent.mlp", width, &mlp);
        Self {
            heads: [heads, head_width],
            norm: norm(weights, "norm", width),
            query: linear(weights, "query", [width, inner]),
            key,
            value,
            output: linear(weights, "output", [inner, width]),
            ff_norm: norm(weights, "ff_norm", width),
            feed_forward: if weights.check().is_ok() { feed_forward.fuse(None, dtype) } else { feed_forward },
        }
    }

    /// # Shapes
    /// - states and result: `[tokens, width]`
    pub(super) fn forward(&self, states: Tensor<2>) -> Tensor<2> {
        let [tokens, _] = states.dims();
        let [heads, width] = self.heads;
        let query = self.query.forward(self.norm.forward(states.clone()));
        let query = query.reshape([1, tokens, heads, width]);
        let attended = multi_head(query, self.key.clone(), self.value.clone(), None, None, None);
        let states = states + self.output.forward(attended);
        let inner = self.feed_forward.forward(self.ff_norm.forward(states.clone()));
        states + inner
    }
}
