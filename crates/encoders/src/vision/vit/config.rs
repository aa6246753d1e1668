//! What the configuration files of the Vision Transformers say.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::pretrained::ModelError;

/// Bounds far beyond any published model, so that a configuration cannot ask for absurd work.
const MAX_WIDTH: usize = 1 << 16;
const MAX_LAYERS: usize = 1024;
const MAX_PIXELS: usize = 1 << 14;

/// Everything that distinguishes one Vision Transformer from another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Architecture {
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) feed_forward: FeedForward,
    pub(super) norm_epsilon: f64,
    /// Side of a square patch, in pixels.
    pub(super) patch: usize,
    /// Side of the square grid of patches that the position embeddings were trained for.
    pub(super) grid: usize,
    pub(super) qkv_bias: bool,
    pub(super) layer_scale: bool,
    /// Register tokens between the class token and the patches, where the family has them.
    pub(super) registers: Option<usize>,
    /// Whether position embeddings are low-pass filtered when they are resized.
    pub(super) antialias: bool,
    /// The size of the pooled output, where the model has a pooler.
    pub(super) pooler: Option<usize>,
}

/// The second half of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FeedForward {
    /// Linear, activation, linear.
    Mlp { width: usize, activation: Activation },
    /// One linear layer gives gate and value: `silu(gate) * value`, then linear.
    SwiGlu { width: usize },
}

/// A non-linearity, as `hidden_act` names it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) enum Activation {
    /// `x * Phi(x)`, exact.
    #[serde(rename = "gelu")]
    Gelu,
    /// The approximation of it by a hyperbolic tangent.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}

/// A side in pixels: a number, or a height and a width.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Side {
    Square(usize),
    Sides([usize; 2]),
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Dinov2Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    mlp_ratio: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    image_size: Side,
    patch_size: Option<Side>,
    num_channels: usize,
    qkv_bias: bool,
    use_swiglu_ffn: bool,
    num_register_tokens: usize,
}

impl Default for Dinov2Config {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            mlp_ratio: 4,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-6,
            image_size: Side::Square(224),
            patch_size: None,
            num_channels: 3,
            qkv_bias: true,
            use_swiglu_ffn: false,
            num_register_tokens: 4,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct VitConfig {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    image_size: Side,
    patch_size: Side,
    num_channels: usize,
    qkv_bias: bool,
    pooler_output_size: Option<usize>,
    pooler_act: String,
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-12,
            image_size: Side::Square(224),
            patch_size: Side::Square(16),
            num_channels: 3,
            qkv_bias: true,
            pooler_output_size: None,
            pooler_act: "tanh".into(),
        }
    }
}

impl Architecture {
    /// DINOv2, with or without registers; what a file leaves out has the reference's default.
    pub(super) fn dinov2(config: &Value, with_registers: bool) -> Result<Self, ModelError> {
        let config: Dinov2Config = parse(config)?;
        let default_patch = if with_registers { 16 } else { 14 };
        let patch = config.patch_size.unwrap_or(Side::Square(default_patch));
        within("mlp_ratio", config.mlp_ratio, 1..=64)?;
        let width = within("hidden_size", config.hidden_size, 1..=MAX_WIDTH)? * config.mlp_ratio;
        let feed_forward = if config.use_swiglu_ffn {
            // Two thirds of the plain width, up to the next multiple of 8.
            FeedForward::SwiGlu { width: (width * 2 / 3).next_multiple_of(8) }
        } else {
            FeedForward::Mlp { width, activation: activation(&config.hidden_act)? }
        };
        let registers = within("num_register_tokens", config.num_register_tokens, 0..=1024)?;
        Self {
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            feed_forward,
            norm_epsilon: config.layer_norm_eps,
            patch: square("patch_size", patch)?,
            grid: square("image_size", config.image_size)?,
            qkv_bias: config.qkv_bias,
            layer_scale: true,
            registers: with_registers.then_some(registers),
            antialias: with_registers,
            pooler: None,
        }
        .checked(config.num_channels)
    }

    /// The plain ViT, as DINO uses it; with a pooler where the weights have one.
    pub(super) fn vit(config: &Value, has_pooler: bool) -> Result<Self, ModelError> {
        let config: VitConfig = parse(config)?;
        let pooled = config.pooler_output_size.filter(|&size| size > 0).unwrap_or(config.hidden_size);
        if has_pooler && config.pooler_act != "tanh" {
            return Err(unknown("pooler_act", &config.pooler_act, "`tanh`"));
        }
        Self {
            hidden: within("hidden_size", config.hidden_size, 1..=MAX_WIDTH)?,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            feed_forward: FeedForward::Mlp {
                width: within("intermediate_size", config.intermediate_size, 1..=64 * MAX_WIDTH)?,
                activation: activation(&config.hidden_act)?,
            },
            norm_epsilon: config.layer_norm_eps,
            patch: square("patch_size", config.patch_size)?,
            grid: square("image_size", config.image_size)?,
            qkv_bias: config.qkv_bias,
            layer_scale: false,
            registers: None,
            antialias: false,
            pooler: has_pooler.then_some(within("pooler_output_size", pooled, 1..=MAX_WIDTH)?),
        }
        .checked(config.num_channels)
    }

    /// Checks what the families have in common. `grid` comes in as the side of the image.
    fn checked(mut self, channels: usize) -> Result<Self, ModelError> {
        within("num_hidden_layers", self.layers, 1..=MAX_LAYERS)?;
        within("num_attention_heads", self.heads, 1..=self.hidden)?;
        within("num_channels", channels, 3..=3)?;
        if !self.hidden.is_multiple_of(self.heads) {
            let expected = format!("a divisor of the hidden size {}", self.hidden);
            return Err(unknown("num_attention_heads", &self.heads.to_string(), &expected));
        }
        if !(self.norm_epsilon >= 0.0 && self.norm_epsilon < 1.0) {
            return Err(unknown("layer_norm_eps", &self.norm_epsilon.to_string(), "a number from 0 to 1"));
        }
        let image = self.grid;
        self.grid = image / self.patch;
        if self.grid == 0 {
            let expected = format!("at least the patch size {}", self.patch);
            return Err(unknown("image_size", &image.to_string(), &expected));
        }
        Ok(self)
    }
}

fn parse<T: DeserializeOwned>(config: &Value) -> Result<T, ModelError> {
    T::deserialize(config)
        .map_err(|error| unknown("config.json", &error.to_string(), "a Vision Transformer's configuration"))
}

fn unknown(field: &'static str, found: &str, expected: &str) -> ModelError {
    ModelError::Config { field, found: found.to_owned(), expected: expected.to_owned() }
}

fn within(
    field: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, ModelError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = range.into_inner();
    let expected = if low == high { low.to_string() } else { format!("{low} to {high}") };
    Err(unknown(field, &value.to_string(), &expected))
}

/// A side that is a positive number, or the same one twice: position embeddings lie on a square.
fn square(field: &'static str, side: Side) -> Result<usize, ModelError> {
    match side {
        Side::Square(side) => within(field, side, 1..=MAX_PIXELS),
        Side::Sides([height, width]) if height == width => within(field, height, 1..=MAX_PIXELS),
        Side::Sides(sides) => Err(unknown(field, &format!("{sides:?}"), "the same height and width")),
    }
}

fn activation(name: &str) -> Result<Activation, ModelError> {
    Activation::deserialize(Value::from(name))
        .map_err(|_| unknown("hidden_act", name, "`gelu`, `gelu_new`, `gelu_pytorch_tanh` or `relu`"))
}
