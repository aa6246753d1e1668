//! Multi-head attention.

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, DType, Tensor, module};
use sail_core::LoraLayer;

use super::{Linear, Norm, Rotary};
use crate::pretrained::Weights;
use crate::spec::AttentionSpec;

/// What the tokens of a batch attend to, the same for all blocks with one kind of attention.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attend {
    /// True for keys to ignore, `[batch or 1, 1, tokens, tokens]`. No row may be all true.
    pub(crate) mask: Option<Tensor<4, Bool>>,
    /// Added to the scores, `[1, heads, tokens, tokens]`.
    pub(crate) bias: Option<Tensor<4>>,
    pub(crate) rotary: Option<Rotary>,
}

/// Multi-head attention with its projections.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    heads: usize,
    key_value_heads: usize,
    scale: Option<f64>,
    pub(super) query: Linear,
    pub(super) key_value: KeyValue,
    norms: Option<(Norm, Norm)>,
    inner_norm: Option<Norm>,
    pub(super) output: Linear,
}

/// The projections of keys and values.
#[derive(Debug, Clone)]
pub(super) enum KeyValue {
    Separate(Linear, Linear),
    /// Keys, then values, of one matrix product.
    Fused(Linear),
}

impl Attention {
    /// Takes the tensors under `name`, see [`blocks`](super).
    pub(crate) fn load(weights: &mut Weights, name: &str, width: usize, spec: &AttentionSpec) -> Self {
        let AttentionSpec { heads, key_value_heads, head_width, biases, .. } = *spec;
        let (queries, keys) = (heads * head_width, key_value_heads * head_width);
        let mut linear =
            |part: &str, sizes, bias| Linear::load(weights, &format!("{name}.{part}"), sizes, bias);
        let query = linear("query", [width, queries], biases.query);
        let key = linear("key", [width, keys], biases.key);
        let value = linear("value", [width, keys], biases.value);
        let output = linear("output", [queries, width], biases.output);
        let mut norm = |part: &str, width, spec| Norm::load(weights, &format!("{name}.{part}"), width, spec);
        Self {
            heads,
            key_value_heads,

            scale: spec.scale,
            query,
            key_value: KeyValue::Separate(key, value),
            norms: spec
                .query_key_norm
                .map(|spec| (norm("query_norm", head_width, spec), norm("key_norm", head_width, spec))),
            inner_norm: spec.inner_norm.map(|spec| norm("norm", queries, spec)),
            output,
        }
    }

    /// # Shapes
    /// - x and result: `[batch * tokens, width]`
    pub(crate) fn forward(&self, x: Tensor<2>, batch: usize, attend: &Attend) -> Tensor<2> {
        let query = self.query(x.clone(), batch, attend);
        let (key, value) = self.key_value(x, batch);
        let key = match &self.norms {
            Some((_, norm)) => norm.forward(key),
            None => key,
        };
        self.attend(query, rotate(key, attend), value, attend)
    }

    /// Attention with the queries in place of the keys (SCLIP, arXiv 2312.01597).
    ///
    /// # Shapes
    /// - x and result: `[batch * tokens, width]`
    pub(crate) fn forward_query_query(&self, x: Tensor<2>, batch: usize, attend: &Attend) -> Tensor<2> {
        let query = self.query(x.clone(), batch, attend);
        let (_, value) = self.key_value(x, batch);
        self.attend(query.clone(), query, value, attend)
    }

    fn query(&self, x: Tensor<2>, batch: usize, attend: &Attend) -> Tensor<4> {
        let query = split_heads(self.query.forward(x), batch, self.heads);
        let query = match &self.norms {
            Some((norm, _)) => norm.forward(query),
            None => query,
        };
        rotate(query, attend)
    }

    fn key_value(&self, x: Tensor<2>, batch: usize) -> (Tensor<4>, Tensor<4>) {
        let heads = self.key_value_heads;
        match &self.key_value {
            KeyValue::Separate(key, value) => (
                split_heads(key.forward(x.clone()), batch, heads),
                split_heads(value.forward(x), batch, heads),
            ),
            KeyValue::Fused(both) => {
                let both = split_heads(both.forward(x), batch, 2 * heads);
                (both.clone().narrow(2, 0, heads), both.narrow(2, heads, heads))
            }
        }
    }

    fn attend(&self, query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, attend: &Attend) -> Tensor<2> {
        let Attend { mask, bias, .. } = attend.clone();
        let bias = bias.map(|bias| bias.cast(query.dtype()));
        let groups = query.dims()[2] / key.dims()[2].max(1);
        let [key, value] = [key, value].map(|x| repeat_heads(x, groups));
        let context = multi_head(query, key, value, mask, bias, self.scale);
        let context = match &self.inner_norm {
            Some(norm) => norm.forward(context),
            None => context,
        };
        self.output.forward(context)
    }

    /// Replaces every linear layer, given with its name if it is one of the specification.
    pub(super) fn map_linears(self, f: &mut impl FnMut(Option<LoraLayer>, Linear) -> Linear) -> Self {
        let query = f(Some(LoraLayer::Query), self.query);
        let key_value = match self.key_value {
            KeyValue::Separate(key, value) => {
                KeyValue::Separate(f(Some(LoraLayer::Key), key), f(Some(LoraLayer::Value), value))
            }
            KeyValue::Fused(both) => KeyValue::Fused(f(None, both)),
        };
        Self { query, key_value, output: f(Some(LoraLayer::Output), self.output), ..self }
    }

    /// Rewrites the projections so that fewer and larger operations give the same result.
    ///
    /// - The bias of the keys adds the same to all scores of a query, which softmax ignores: dropped, unless keys are
    ///   normalized or rotated after it.
    /// - The attention weights of a query sum to one, so the bias of the values can be added after attention: folded into
    ///   the bias of the output, unless there is a norm in between.
    /// - `scale` is folded into the output.
    /// - Keys and values are computed by one matrix product.
    pub(super) fn fuse(mut self, spec: &AttentionSpec, scale: Option<Tensor<1>>, dtype: DType) -> Self {
        let KeyValue::Separate(mut key, mut value) = self.key_value else { return self };
        if spec.rotary.is_none() && spec.query_key_norm.is_none() {
            key.bias = None;
        }
        self.output = self.output.scaled(scale);
        let (groups, width) = (spec.heads / spec.key_value_heads.max(1), spec.head_width);
        if key.bias.is_none()
            && spec.inner_norm.is_none()
            && let Some(bias) = value.bias.take()
        {
            // Every head of the values serves a group of queries.
            let bias = bias.cast(DType::F32).reshape([spec.key_value_heads, 1, width]);
            let bias = bias.repeat_dim(1, groups).reshape([1, spec.heads * width]);
            let output = self.output.cast(DType::F32);
            let [_, outputs] = output.shape();
            let shift = output.product(bias).reshape([outputs]);
            let bias = Some(match &output.bias {
                Some(bias) => bias.clone() + shift,
                None => shift,
            });
            self.output = output.with_bias(bias);
        }
        self.output = self.output.cast(dtype);
        self.query = self.query.cast(dtype);
        let (key, value) = (key.cast(dtype), value.cast(dtype));
        self.key_value = if key.bias.is_some() == value.bias.is_some() {
            KeyValue::Fused(Linear::concatenate(vec![key, value]))
        } else {
            KeyValue::Separate(key, value)
        };
        self.norms = self.norms.map(|(query, key)| (query.cast(dtype), key.cast(dtype)));
        self.inner_norm = self.inner_norm.map(|norm| norm.cast(dtype));
        self
    }
}

fn rotate(x: Tensor<4>, attend: &Attend) -> Tensor<4> {
    match &attend.rotary {
        Some(rotary) => rotary.apply(x),
        None => x,
    }
}

fn split_heads(x: Tensor<2>, batch: usize, heads: usize) -> Tensor<4> {
    let [rows, width] = x.dims();
    x.reshape([batch, rows / batch, heads, width / heads])
}

/// Repeats every head for its group of queries, `[batch, tokens, heads * groups, width]`.
fn repeat_heads(x: Tensor<4>, groups: usize) -> Tensor<4> {
    if groups == 1 {
        return x;
    }
    let [batch, tokens, heads, width] = x.dims();
    x.unsqueeze_dim::<5>(3).repeat_dim(3, groups).reshape([batch, tokens, heads * groups, width])
}

/// Computes multi-head attention, `softmax(scale * q k^T + bias) v`, and concatenates the heads. The scale is
/// `1 / sqrt(width)` by default.
///
/// # Shapes
/// - query: `[batch, queries, heads, width]`; key, value: `[batch, tokens, heads, width]`
/// - mask (true for keys to ignore) and bias: `[batch or 1, heads or 1, queries, tokens]`
/// - result: `[batch * queries, heads * width]`
pub(crate) fn multi_head(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    mask: Option<Tensor<4, Bool>>,
    bias: Option<Tensor<4>>,
    scale: Option<f64>,
) -> Tensor<2> {
    let [batch, queries, heads, width] = query.dims();
    let [query, key, value] = [query, key, value].map(|x| x.swap_dims(1, 2));
    let options = AttentionModuleOptions { scale, ..AttentionModuleOptions::default() };
    let context = module::attention(query, key, value, mask, bias, options);
    context.swap_dims(1, 2).reshape([batch * queries, heads * width])
}
