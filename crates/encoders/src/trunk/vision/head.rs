//! The pooled output.

use burn::tensor::{DType, Tensor};

use crate::blocks::{FeedForward, Linear, Norm, multi_head};
use crate::pretrained::Weights;
use crate::spec::{MapSpec, VisionHead};

/// How the pooled output is computed, see [`VisionHead`].
pub(super) enum Head {
    ClassToken,
    PatchMean,
    Tanh(Linear),
    Map(Box<Map>),
}

impl Head {
    pub(super) fn load(weights: &mut Weights, spec: &VisionHead, width: usize) -> Self {
        match spec {
            VisionHead::ClassToken => Self::ClassToken,
            VisionHead::PatchMean => Self::PatchMean,
            VisionHead::Tanh { width: output } => {
                Self::Tanh(Linear::load(weights, "pooler", [width, *output], true))
            }
            VisionHead::Map(spec) => Self::Map(Box::new(Map::load(weights, spec, width))),
        }
    }

    /// Prepares the head for the forward pass in this dtype.
    pub(super) fn fuse(self, dtype: DType) -> Self {
        match self {
            Self::Tanh(linear) => Self::Tanh(linear.cast(dtype)),
            Self::Map(map) => Self::Map(Box::new(map.fuse(dtype))),
            other => other,
        }
    }
}

/// Attention of a learned query over the tokens, see [`MapSpec`].
pub(super) struct Map {
    heads: usize,
    prefix: bool,
    /// `[1, width]`
    query: Tensor<2>,
    projection: Option<Linear>,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: Option<Norm>,
    feed_forward: Option<FeedForward>,
}

impl Map {
    fn load(weights: &mut Weights, spec: &MapSpec, width: usize) -> Self {
        let query = weights.take("map.probe", [1, width]);
        let mut linear = |name, bias| Linear::load(weights, name, [width, width], bias);
        Self {
            heads: spec.heads,
            prefix: spec.prefix,
            query,
            projection: spec.query.then(|| linear("map.query", spec.bias)),
            key: linear("map.key", spec.bias),
            value: linear("map.value", spec.bias),
            output: linear("map.output", true),
            norm: spec.norm.map(|norm| Norm::load(weights, "map.norm", width, norm)),
            feed_forward: spec
                .feed_forward
                .as_ref()
                .map(|feed_forward| FeedForward::load(weights, "map.mlp", width, feed_forward)),
        }
    }

    /// Projects the query, which is the same for all images.
    fn fuse(self, dtype: DType) -> Self {
        let query = match self.projection {
            Some(projection) => projection.cast(DType::F32).forward(self.query.cast(DType::F32)),
            None => self.query,
        };
        Self {
            query: query.cast(dtype),
            projection: None,
            key: self.key.cast(dtype),
            value: self.value.cast(dtype),
            output: self.output.cast(dtype),
            norm: self.norm.map(|norm| norm.cast(dtype)),
            feed_forward: self.feed_forward.map(|feed_forward| feed_forward.fuse(None, dtype)),
            ..self
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, width]`, of which the last `patches` are patches
    /// - result: `[batch, width]`
    pub(super) fn forward(&self, x: Tensor<3>, patches: usize) -> Tensor<2> {
        let [batch, all, width] = x.dims();
        let tokens = if self.prefix { all } else { patches };
        let x = x.narrow(1, all - tokens, tokens).reshape([batch * tokens, width]);
        let heads = |x: Tensor<2>, tokens| x.reshape([batch, tokens, self.heads, width / self.heads]);
        let query = heads(self.query.clone().expand([batch, width]), 1);
        let (key, value) = (heads(self.key.forward(x.clone()), tokens), heads(self.value.forward(x), tokens));
        let pooled = self.output.forward(multi_head(query, key, value, None, None, None));
        let Some(feed_forward) = &self.feed_forward else { return pooled };
        let normalized = match &self.norm {
            Some(norm) => norm.forward(pooled.clone()),
            None => pooled.clone(),
        };
        pooled + feed_forward.forward(normalized)
    }
}
