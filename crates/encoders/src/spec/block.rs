//! The specification of a transformer block.

use sail_core::LoraLayer;

use crate::blocks::Activation;

/// A transformer block: attention and a feed-forward network, each with a residual connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BlockSpec {
    /// Width of the token states.
    pub(crate) width: usize,
    pub(crate) attention: AttentionSpec,
    pub(crate) feed_forward: FeedForwardSpec,
    pub(crate) order: Order,
    pub(crate) norm: NormSpec,
    /// Whether attention has a norm of its own; the first block of ModernBERT has none.
    pub(crate) attention_norm: bool,
    /// Whether the outputs of attention and feed-forward network are scaled by a learned factor per feature.
    pub(crate) layer_scale: bool,
}

impl BlockSpec {
    /// A block of a plain vision transformer: norms before attention and feed-forward network.
    pub(crate) const fn pre_norm(
        width: usize,
        attention: AttentionSpec,
        feed_forward: FeedForwardSpec,
        norm: NormSpec,
    ) -> Self {
        Self {
            width,
            attention,
            feed_forward,
            order: Order::Pre,
            norm,
            attention_norm: true,
            layer_scale: false,
        }
    }

    /// A block of BERT: norms after the residual connections.
    pub(crate) const fn post_norm(
        width: usize,
        attention: AttentionSpec,
        feed_forward: FeedForwardSpec,
        norm: NormSpec,
    ) -> Self {
        Self { order: Order::Post, ..Self::pre_norm(width, attention, feed_forward, norm) }
    }

    /// Returns the linear layers with the numbers of their inputs and outputs.
    pub(crate) fn linears(&self) -> impl Iterator<Item = (LoraLayer, [usize; 2])> {
        let AttentionSpec { heads, key_value_heads, head_width, .. } = self.attention;
        let (width, inner) = (self.width, self.feed_forward.width);
        let (queries, keys) = (heads * head_width, key_value_heads * head_width);
        let gate = self.feed_forward.gated.then_some((LoraLayer::Gate, [width, inner]));
        let attention = [
            (LoraLayer::Query, [width, queries]),
            (LoraLayer::Key, [width, keys]),
            (LoraLayer::Value, [width, keys]),
            (LoraLayer::Output, [queries, width]),
        ];
        let feed_forward = [(LoraLayer::Up, [width, inner]), (LoraLayer::Down, [inner, width])];
        attention.into_iter().chain(gate).chain(feed_forward)
    }

    /// Returns the number of parameters in the projections, which are nearly all.
    pub(crate) fn parameters(&self) -> u64 {
        self.linears().map(|(_, [inputs, outputs])| (inputs as u64).saturating_mul(outputs as u64)).sum()
    }
}

/// The place of the norms in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// `x + f(norm(x))`.
    Pre,
    /// `norm(x + f(x))`, as in BERT.
    Post,
    /// `x + post_norm(f(norm(x)))`, as in Gemma 3.
    Sandwich,
    /// `x + norm(f(x))`, as in the largest EVA-02.
    ResidualPost,
}

/// A norm of the token states.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NormSpec {
    pub(crate) kind: NormKind,
    pub(crate) epsilon: f64,
    /// Whether there is a bias; only of a layer norm.
    pub(crate) bias: bool,
}

/// The kind of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// Layer norm (arXiv 1607.06450).
    Layer,
    /// Root mean square norm (arXiv 1910.07467), `x / rms(x) * w`.
    Rms,
    /// Root mean square norm of Gemma, `x / rms(x) * (1 + w)`.
    RmsPlusOne,
}

impl NormSpec {
    /// A layer norm with a bias.
    pub(crate) const fn layer(epsilon: f64) -> Self {
        Self { kind: NormKind::Layer, epsilon, bias: true }
    }

    /// A root mean square norm.
    pub(crate) const fn rms(epsilon: f64) -> Self {
        Self { kind: NormKind::Rms, epsilon, bias: false }
    }
}

/// Multi-head attention, `softmax(scale * q k^T + bias) v`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AttentionSpec {
    pub(crate) heads: usize,
    /// Heads of keys and values, a divisor of `heads` (grouped-query attention, arXiv 2305.13245).
    pub(crate) key_value_heads: usize,
    pub(crate) head_width: usize,
    pub(crate) biases: Biases,
    /// A norm of each head of queries and keys, before the rotation.
    pub(crate) query_key_norm: Option<NormSpec>,
    /// A norm of the concatenated heads before the output projection (`scale_attn_inner` of EVA-02).
    pub(crate) inner_norm: Option<NormSpec>,
    /// Factor of the scores; `None` is `1 / sqrt(head_width)`.
    pub(crate) scale: Option<f64>,
    /// Whether tokens attend to earlier tokens and themselves only.
    pub(crate) causal: bool,
    /// Tokens attend to tokens at most this far away.
    pub(crate) window: Option<usize>,
    pub(crate) rotary: Option<RotarySpec>,
}

impl AttentionSpec {
    /// Plain multi-head attention with biases everywhere.
    pub(crate) fn plain(width: usize, heads: usize) -> Self {
        Self {
            heads,
            key_value_heads: heads,
            head_width: width / heads.max(1),
            biases: Biases::ALL,
            query_key_norm: None,
            inner_norm: None,
            scale: None,
            causal: false,
            window: None,
            rotary: None,
        }
    }
}

/// Which projections of an attention have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Biases {
    pub(crate) query: bool,
    pub(crate) key: bool,
    pub(crate) value: bool,
    pub(crate) output: bool,
}

impl Biases {
    pub(crate) const ALL: Self = Self { query: true, key: true, value: true, output: true };
    pub(crate) const NONE: Self = Self { query: false, key: false, value: false, output: false };

    /// The same for queries, keys and values.
    pub(crate) const fn new(inputs: bool, output: bool) -> Self {
        Self { query: inputs, key: inputs, value: inputs, output }
    }
}

/// Rotary position embedding (RoFormer, arXiv 2104.09864) with inverse frequencies `theta^(-2 i / width)`.
///
/// The positions are those of the tokens of a text, or the coordinates of patches, see
/// [`RotaryGrid`](super::RotaryGrid).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RotarySpec {
    pub(crate) theta: f64,
    pub(crate) scaling: Scaling,
    pub(crate) pairs: Pairs,
}

/// Scaling of the inverse frequencies for longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scaling {
    None,
    /// All inverse frequencies are divided by this factor.
    Linear(f64),
    /// As in Llama 3: low frequencies are divided by the factor, high ones are not, those between are blended.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
}

/// Which two elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// Element `i` of the first half with element `i` of the second.
    Halves,
    /// Elements `2 i` and `2 i + 1`.
    Neighbors,
}

/// A feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FeedForwardSpec {
    /// Width of the inner states.
    pub(crate) width: usize,
    pub(crate) activation: Activation,
    /// `down(activation(gate(x)) * up(x))` (arXiv 2002.05202) instead of `down(activation(up(x)))`.
    pub(crate) gated: bool,
    /// Whether `up` and `gate` have a bias.
    pub(crate) bias_in: bool,
    /// Whether `down` has a bias.
    pub(crate) bias_out: bool,
    /// A norm of the inner states (`scale_mlp` of EVA-02).
    pub(crate) inner_norm: Option<NormSpec>,
}

impl FeedForwardSpec {
    /// Linear, activation, linear, with biases.
    pub(crate) const fn plain(width: usize, activation: Activation) -> Self {
        Self { width, activation, gated: false, bias_in: true, bias_out: true, inner_norm: None }
    }

    /// A gated network.
    pub(crate) const fn gated(width: usize, activation: Activation, bias: bool) -> Self {
        Self { width, activation, gated: true, bias_in: bias, bias_out: bias, inner_norm: None }
    }
}
