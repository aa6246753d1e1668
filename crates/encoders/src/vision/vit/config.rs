//! Configurations of the Vision Transformers.

use serde_json::{Value, json};

use crate::activation::Activation;
use crate::config::{Fields, LAYERS};
use crate::pretrained::ModelError;

/// Far above the widths of published models.
const MAX_WIDTH: usize = 1 << 16;

/// The architecture of a Vision Transformer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Architecture {
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) feed_forward: FeedForward,
    pub(super) norm_epsilon: f64,
    /// Side of a square patch in pixels.
    pub(super) patch: usize,
    /// Side of the square grid of patches for which the position embeddings were trained.
    pub(super) grid: usize,
    pub(super) qkv_bias: bool,
    pub(super) layer_scale: bool,
    /// Register tokens between the class token and the patch tokens, if the family has them.
    pub(super) registers: Option<usize>,
    /// Whether position embeddings are resized with antialiasing.
    pub(super) antialias: bool,
    /// Dimension of the pooled output, if the model has a pooler.
    pub(super) pooler: Option<usize>,
}

/// The feed-forward network of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FeedForward {
    /// Linear, activation, linear.
    Mlp { width: usize, activation: Activation },
    /// `silu(gate) * value`, where one linear layer computes gate and value, then linear.
    SwiGlu { width: usize },
}

impl Architecture {
    /// Parses the configuration of DINOv2, with the defaults of transformers.
    pub(super) fn dinov2(config: &Value, with_registers: bool) -> Result<Self, ModelError> {
        let fields = Fields(config);
        let ratio = fields.number("mlp_ratio", 4.0, 0.0..=64.0)?;
        let width = (fields.size("hidden_size", Some(768), 1..=MAX_WIDTH)? as f64 * ratio) as usize;
        if width == 0 {
            return Err(fields.error("mlp_ratio", "a ratio that leaves at least one feature"));
        }
        let feed_forward = if fields.flag("use_swiglu_ffn", false)? {
            // Two thirds of the MLP's width, rounded up to a multiple of 8.
            FeedForward::SwiGlu { width: (width * 2 / 3).next_multiple_of(8) }
        } else {
            let activation = fields.choice("hidden_act", Some(Activation::Gelu), Activation::NAMES)?;
            FeedForward::Mlp { width, activation }
        };
        let registers = fields.size("num_register_tokens", Some(4), 0..=1024)?;
        Ok(Self {
            layer_scale: true,
            registers: with_registers.then_some(registers),
            antialias: with_registers,
            ..Self::common(fields, 1e-6, if with_registers { 16 } else { 14 }, feed_forward)?
        })
    }

    /// Parses the configuration of a plain ViT, as in DINO, with the defaults of transformers.
    pub(super) fn vit(config: &Value, has_pooler: bool) -> Result<Self, ModelError> {
        let fields = Fields(config);
        let feed_forward = FeedForward::Mlp {
            width: fields.size("intermediate_size", Some(3072), 1..=64 * MAX_WIDTH)?,
            activation: fields.choice("hidden_act", Some(Activation::Gelu), Activation::NAMES)?,
        };
        let common = Self::common(fields, 1e-12, 16, feed_forward)?;
        let pooler = if has_pooler {
            fields.only("pooler_act", json!("tanh"))?;
            // 0 stands for the hidden size, as in transformers.
            let size = fields.size("pooler_output_size", Some(0), 0..=MAX_WIDTH)?;
            Some(if size == 0 { common.hidden } else { size })
        } else {
            None
        };
        Ok(Self { pooler, ..common })
    }

    /// Parses the fields that the families share.
    fn common(
        fields: Fields<'_>,
        norm_epsilon: f64,
        patch: usize,
        feed_forward: FeedForward,
    ) -> Result<Self, ModelError> {
        fields.size("num_channels", Some(3), 3..=3)?;
        let hidden = fields.size("hidden_size", Some(768), 1..=MAX_WIDTH)?;
        let patch = fields.square("patch_size", patch)?;
        let grid = fields.square("image_size", 224)? / patch;
        if grid == 0 {
            return Err(fields.error("image_size", format!("at least the patch size, {patch}")));
        }
        Ok(Self {
            hidden,
            layers: fields.size("num_hidden_layers", Some(12), LAYERS)?,
            heads: fields.heads("num_attention_heads", Some(12), hidden)?,
            feed_forward,
            norm_epsilon: fields.epsilon("layer_norm_eps", norm_epsilon)?,
            patch,
            grid,
            qkv_bias: fields.flag("qkv_bias", true)?,
            layer_scale: false,
            registers: None,
            antialias: false,
            pooler: None,
        })
    }
}
