//! What the configurations of vision transformers share.

use crate::blocks::Activation;
use crate::config::{Fields, LAYERS};
use crate::pretrained::ModelError;
use crate::spec::{
    AttentionSpec, Biases, BlockSpec, FeedForwardSpec, Interpolation, NormScope, NormSpec, PatchOrder,
    VisionPositions, VisionSpec,
};

/// Far above the widths of published models.
pub(super) const MAX_WIDTH: usize = 1 << 16;

/// The sizes of a vision transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Width of the feed-forward network.
    pub(super) inner: usize,
    /// Side of a patch in pixels.
    pub(super) patch: usize,
    /// Side of the images of training in pixels.
    pub(super) image: usize,
    pub(super) epsilon: f64,
    pub(super) activation: Activation,
}

impl Sizes {
    /// ViT-B/16, the default of most families in transformers.
    pub(super) const BASE: Self = Self {
        width: 768,
        layers: 12,
        heads: 12,
        inner: 3072,
        patch: 16,
        image: 224,
        epsilon: 1e-12,
        activation: Activation::Gelu,
    };

    /// Reads the fields that most families have, with these defaults.
    pub(super) fn read(fields: Fields<'_>, default: Self) -> Result<Self, ModelError> {
        fields.size("num_channels", Some(3), 3..=3)?;
        let width = fields.size("hidden_size", Some(default.width), 1..=MAX_WIDTH)?;
        let patch = fields.square("patch_size", default.patch)?;
        let image = fields.square("image_size", default.image)?;
        if image < patch {
            return Err(fields.error("image_size", format!("at least the patch size, {patch}")));
        }
        Ok(Self {
            width,
            layers: fields.size("num_hidden_layers", Some(default.layers), LAYERS)?,
            heads: fields.heads("num_attention_heads", Some(default.heads), width)?,
            inner: fields.size("intermediate_size", Some(default.inner), 1..=64 * MAX_WIDTH)?,
            patch,
            image,
            epsilon: fields.epsilon("layer_norm_eps", default.epsilon)?,
            activation: fields.choice("hidden_act", Some(default.activation), Activation::NAMES)?,
        })
    }

    /// A table of positions for the images of training, with entries for the first `prefix` tokens.
    pub(super) fn table(&self, prefix: usize, interpolation: Interpolation) -> VisionPositions {
        VisionPositions::Table { grid: [self.image / self.patch; 2], prefix, interpolation }
    }

    /// A block with norms before attention and feed-forward network, and biases everywhere.
    pub(super) fn block(&self) -> BlockSpec {
        let attention = AttentionSpec::plain(self.width, self.heads);
        let feed_forward = FeedForwardSpec::plain(self.inner, self.activation);
        BlockSpec::pre_norm(self.width, attention, feed_forward, NormSpec::layer(self.epsilon))
    }

    /// A plain ViT: a class token, learned positions, a norm of all outputs, and no pooled output.
    pub(super) fn spec(&self, block: BlockSpec) -> VisionSpec {
        VisionSpec {
            patch: self.patch,
            width: self.width,
            patch_bias: true,
            patch_norm: None,
            patch_order: PatchOrder::ChannelFirst,
            class_tokens: 1,
            registers: 0,
            positions: self.table(1, Interpolation::Bicubic),
            rotary_grid: None,
            pre_norm: None,
            final_norm: Some(block.norm),
            blocks: vec![block; self.layers],
            norm_scope: NormScope::All,
            head: None,
            projection: None,
            projection_bias: false,
        }
    }
}

/// Which projections have a bias in the families with the field `qkv_bias`.
pub(super) fn biases(fields: Fields<'_>) -> Result<Biases, ModelError> {
    Ok(Biases::new(fields.flag("qkv_bias", true)?, true))
}
