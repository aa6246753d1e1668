//! Vision transformers in the layout of timm: ViT, DeiT, DINOv2, DINOv3, EVA-02, Perception Encoder, and the towers of CLIP and
//! SigLIP.
//!
//! timm has the sizes in its code, by the name of the architecture. Here they are those of the tensors, and
//! [`Architecture`] knows what tensors do not show.

use serde_json::Value;

use super::architecture::Architecture;
use super::{Family, Plan, Source, VisionSide};
use crate::config::Fields;
use crate::pretrained::{Checkpoint, ModelError, Rule, WeightMap};
use crate::spec::{
    AttentionSpec, Biases, BlockSpec, FeedForwardSpec, Interpolation, MapSpec, NormScope, NormSpec,
    PatchOrder, VisionHead, VisionPositions, VisionSpec,
};

/// Vision transformers of timm.
pub(crate) static TIMM: Family = Family {
    name: "timm ViT",
    model_types: &["timm"],
    checkpoints: &[
        "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        "timm/vit_large_patch14_reg4_dinov2.lvd142m",
        "timm/vit_base_patch16_dinov3.lvd1689m",
        "timm/vit_base_patch16_clip_224.openai",
        "timm/vit_so400m_patch14_siglip_384.webli",
        "timm/vit_pe_core_base_patch16_224.fb",
        "timm/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k",
        "timm/eva02_large_patch14_clip_336.merged2b",
    ],
    vision: Some(VisionSide::Transformer(timm)),
    text: None,
};

const NAMES: usize = 31;

/// The names of timm, in a checkpoint of its own or of OpenCLIP. The first layer of the feed-forward networks may be two in
/// one.
const fn names(first: Rule) -> [Rule; NAMES] {
    use Rule::{Rename, Split};
    [
        // The projection of OpenCLIP is one of its own, or in the place of the classifier of timm.
        Rename("trunk.head.", "projection."),
        Rename("head.proj.", "projection."),
        Rename("trunk.", ""),
        Rename("patch_embed.proj.", "patch."),
        Rename("cls_token", "class_token"),
        Rename("reg_token", "registers"),
        Rename("pos_embed", "positions"),
        Rename("norm_pre.", "pre_norm."),
        Rename("fc_norm.", "norm."),
        Rename("attn_pool.latent", "map.probe"),
        Rename("attn_pool.q.", "map.query."),
        Split("attn_pool.kv.", &["map.key.", "map.value."]),
        Rename("attn_pool.proj.", "map.output."),
        Rename("attn_pool.mlp.fc1.", "map.mlp.up."),
        Rename("attn_pool.", "map."),
        Split(".attn.qkv.", &[".attention.query.", ".attention.key.", ".attention.value."]),
        Rename(".attn.q_proj.", ".attention.query."),
        Rename(".attn.k_proj.", ".attention.key."),
        Rename(".attn.v_proj.", ".attention.value."),
        Rename(".attn.q_bias", ".attention.query.bias"),
        Rename(".attn.v_bias", ".attention.value.bias"),
        Rename(".attn.proj.", ".attention.output."),
        Rename(".attn.", ".attention."),
        Rename(".ls1.gamma", ".scale1"),
        Rename(".ls2.gamma", ".scale2"),
        Rename(".gamma_1", ".scale1"),
        Rename(".gamma_2", ".scale2"),
        Rename(".mlp.fc1_g.", ".mlp.gate."),
        Rename(".mlp.fc1_x.", ".mlp.up."),
        first,
        Rename(".mlp.fc2.", ".mlp.down."),
    ]
}

static PLAIN: [Rule; NAMES] = names(Rule::Rename(".mlp.fc1.", ".mlp.up."));
static PACKED: [Rule; NAMES] = names(Rule::Split(".mlp.fc1.", &[".mlp.gate.", ".mlp.up."]));

fn timm(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let architecture = Architecture::read(fields)?;
    let pool = source.config.get("global_pool").and_then(Value::as_str);
    let names = ["architecture", "global_pool"];
    Tower { architecture, pool, checkpoint: source.checkpoint, prefix: "", fields, names }.plan()
}

/// A vision transformer of timm in a checkpoint.
pub(super) struct Tower<'a> {
    pub(super) architecture: Architecture<'a>,
    /// How timm pools.
    pub(super) pool: Option<&'a str>,
    pub(super) checkpoint: &'a Checkpoint,
    /// Before the names of all tensors.
    pub(super) prefix: &'static str,
    /// The configuration, and its fields of architecture and pooling, for errors.
    pub(super) fields: Fields<'a>,
    pub(super) names: [&'static str; 2],
}

impl Tower<'_> {
    /// Derives the specification from the tensors.
    ///
    /// # Errors
    /// Returns [`ModelError::Config`] for an architecture, pooling or argument that is not supported.
    pub(super) fn plan(&self) -> Result<Plan<VisionSpec>, ModelError> {
        let Some(&[width, _, patch, _]) = self.shape("patch_embed.proj.weight") else {
            let expected = "a vision transformer; the checkpoint has no kernel `patch_embed.proj.weight`";
            return Err(self.fields.error(self.names[0], expected));
        };
        let norm = NormSpec::layer(self.architecture.epsilon());
        let class_tokens = self.count("cls_token");
        let registers = self.count("reg_token");
        let positions = self.positions(class_tokens + registers, patch)?;
        let grid = match positions {
            VisionPositions::Table { grid, .. } => Some(grid),
            VisionPositions::None | VisionPositions::SinCos => None,
        };
        let rotary = self.architecture.rotary(class_tokens, grid)?;
        let packed = self.packed();
        let mut attention = AttentionSpec::plain(width, self.architecture.heads(width)?);
        attention.biases = self.biases();
        attention.query_key_norm = self.has("blocks.0.attn.q_norm.weight").then_some(norm);
        attention.inner_norm = self.has("blocks.0.attn.norm.weight").then_some(norm);
        attention.rotary = rotary.map(|(rotary, _)| rotary);
        let block = BlockSpec {
            width,
            attention,
            feed_forward: self.feed_forward(packed, norm)?,
            order: self.architecture.order(),
            norm,
            attention_norm: true,
            layer_scale: self.has("blocks.0.ls1.gamma") || self.has("blocks.0.gamma_1"),
        };
        let depth = (0..).take_while(|index| self.has(&format!("blocks.{index}.norm1.weight"))).count();
        let (norms, mean_norm) = (self.has("norm.weight"), self.has("fc_norm.weight"));
        let spec = VisionSpec {
            patch,
            width,
            patch_bias: self.has("patch_embed.proj.bias"),
            patch_norm: None,
            patch_order: PatchOrder::ChannelFirst,
            class_tokens,
            registers,
            positions,
            rotary_grid: rotary.map(|(_, grid)| grid),
            pre_norm: self.has("norm_pre.weight").then_some(norm),
            blocks: vec![block; depth],
            final_norm: (norms || mean_norm).then_some(norm),
            norm_scope: if mean_norm { NormScope::PatchMean } else { NormScope::All },
            head: self.head(width, norm)?,
            projection: None,
            projection_bias: false,
        };
        let rules: &'static [Rule] = if packed { &PACKED } else { &PLAIN };
        // The classifier.
        Ok(Plan { spec, map: WeightMap { prefixes: &[], rules, ignored: &["head.", "head_dist."] } })
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.checkpoint.shape(&format!("{}{name}", self.prefix))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// The number of tokens in a tensor `[1, tokens, width]`.
    fn count(&self, name: &str) -> usize {
        match self.shape(name) {
            Some(&[_, tokens, _]) => tokens,
            _ => 0,
        }
    }

    /// The table of positions has entries for all tokens, or only for patches.
    fn positions(&self, prefix: usize, patch: usize) -> Result<VisionPositions, ModelError> {
        let Some(&[_, count, _]) = self.shape("pos_embed") else { return Ok(VisionPositions::None) };
        let trained = self.architecture.image()?.map(|image| image.map(|side| side / patch.max(1)));
        let grid = |prefix: usize| {
            let patches = count.checked_sub(prefix)?;
            let side = patches.isqrt();
            let grids = trained.into_iter().chain([[side, side]]);
            let grid =
                grids.into_iter().find(|[rows, columns]| rows.checked_mul(*columns) == Some(patches))?;
            let interpolation = Interpolation::BicubicAntialias;
            (patches > 0).then_some(VisionPositions::Table { grid, prefix, interpolation })
        };
        grid(prefix).or_else(|| grid(0)).ok_or_else(|| {
            let expected = format!("an image size for the {count} positions in `pos_embed`");
            self.architecture.error("input_size", expected)
        })
    }

    fn biases(&self) -> Biases {
        let has = |names: [&str; 3]| names.iter().any(|name| self.has(&format!("blocks.0.attn.{name}")));
        Biases {
            query: has(["qkv.bias", "q_bias", "q_proj.bias"]),
            key: has(["qkv.bias", "k_bias", "k_proj.bias"]),
            value: has(["qkv.bias", "v_bias", "v_proj.bias"]),
            output: self.has("blocks.0.attn.proj.bias"),
        }
    }

    /// Whether gate and up are one layer.
    fn packed(&self) -> bool {
        match (self.shape("blocks.0.mlp.fc1.weight"), self.shape("blocks.0.mlp.fc2.weight")) {
            (Some(&[rows, _]), Some(&[_, columns])) => rows == columns.saturating_mul(2),
            _ => false,
        }
    }

    fn feed_forward(&self, packed: bool, norm: NormSpec) -> Result<FeedForwardSpec, ModelError> {
        let width = match self.shape("blocks.0.mlp.fc2.weight") {
            Some(&[_, columns]) => columns,
            _ => 0,
        };
        let gated = packed || self.has("blocks.0.mlp.fc1_g.weight");
        Ok(FeedForwardSpec {
            width,
            activation: self.architecture.activation(gated)?,
            gated,
            bias_in: ["fc1.bias", "fc1_g.bias"].iter().any(|name| self.has(&format!("blocks.0.mlp.{name}"))),
            bias_out: self.has("blocks.0.mlp.fc2.bias"),
            inner_norm: self.has("blocks.0.mlp.norm.weight").then_some(norm),
        })
    }

    fn head(&self, width: usize, norm: NormSpec) -> Result<Option<VisionHead>, ModelError> {
        match self.pool {
            Some("map") => {
                let inner = self.shape("attn_pool.mlp.fc1.weight").and_then(|shape| shape.first());
                let activation = self.architecture.activation(false)?;
                Ok(Some(VisionHead::Map(MapSpec {
                    heads: self.architecture.pool_heads(width)?,
                    prefix: true,
                    query: self.has("attn_pool.q.weight"),
                    bias: self.has("attn_pool.kv.bias"),
                    norm: self.has("attn_pool.norm.weight").then_some(norm),
                    feed_forward: inner.map(|inner| FeedForwardSpec::plain(*inner, activation)),
                })))
            }
            Some("avg") => Ok(Some(VisionHead::PatchMean)),
            Some("token") | None => Ok(None),
            Some(_) => Err(self.fields.error(self.names[1], "one of token, avg, map")),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use serde_json::json;

    use super::*;
    use crate::blocks::Activation;
    use crate::spec::{Order, Pairs, RotaryGrid, RotarySpec, Scaling};

    fn read(config: Value, shapes: &[(&str, &[usize])]) -> VisionSpec {
        let zeros = shapes.iter().map(|(name, shape)| (*name, TensorData::zeros::<f32, _>(shape.to_vec())));
        let checkpoint = Checkpoint::of(zeros);
        timm(&Source { config: &config, checkpoint: &checkpoint }).unwrap().spec
    }

    #[test]
    fn reads_the_tensors_of_published_models() {
        // timm/vit_giant_patch14_reg4_dinov2.lvd142m
        let config = json!({
            "architecture": "vit_giant_patch14_reg4_dinov2", "num_features": 1536, "global_pool": "token",
            "pretrained_cfg": {"input_size": [3, 518, 518]}
        });
        let spec = read(
            config,
            &[
                ("patch_embed.proj.weight", &[1536, 3, 14, 14]),
                ("patch_embed.proj.bias", &[1536]),
                ("cls_token", &[1, 1, 1536]),
                ("reg_token", &[1, 4, 1536]),
                ("pos_embed", &[1, 1369, 1536]),
                ("blocks.0.norm1.weight", &[1536]),
                ("blocks.1.norm1.weight", &[1536]),
                ("blocks.0.attn.qkv.bias", &[4608]),
                ("blocks.0.attn.proj.bias", &[1536]),
                ("blocks.0.ls1.gamma", &[1536]),
                ("blocks.0.mlp.fc1.weight", &[8192, 1536]),
                ("blocks.0.mlp.fc1.bias", &[8192]),
                ("blocks.0.mlp.fc2.weight", &[1536, 4096]),
                ("blocks.0.mlp.fc2.bias", &[1536]),
                ("norm.weight", &[1536]),
            ],
        );
        let feed_forward = FeedForwardSpec::gated(4096, Activation::Silu, true);
        let attention = AttentionSpec::plain(1536, 24);
        let mut block = BlockSpec::pre_norm(1536, attention, feed_forward, NormSpec::layer(1e-6));
        block.layer_scale = true;
        assert_eq!(spec.blocks, vec![block; 2]);
        assert_eq!((spec.class_tokens, spec.registers, spec.head), (1, 4, None));
        let interpolation = Interpolation::BicubicAntialias;
        assert_eq!(spec.positions, VisionPositions::Table { grid: [37, 37], prefix: 0, interpolation });

        // timm/eva02_large_patch14_clip_336.merged2b
        let config = json!({
            "architecture": "eva02_large_patch14_clip_336", "num_features": 1024, "global_pool": "token",
            "pretrained_cfg": {"input_size": [3, 336, 336]}
        });
        let spec = read(
            config,
            &[
                ("patch_embed.proj.weight", &[1024, 3, 14, 14]),
                ("patch_embed.proj.bias", &[1024]),
                ("cls_token", &[1, 1, 1024]),
                ("pos_embed", &[1, 577, 1024]),
                ("blocks.0.norm1.weight", &[1024]),
                ("blocks.0.attn.q_proj.bias", &[1024]),
                ("blocks.0.attn.v_proj.bias", &[1024]),
                ("blocks.0.attn.norm.weight", &[1024]),
                ("blocks.0.attn.proj.bias", &[1024]),
                ("blocks.0.mlp.fc1_g.weight", &[2730, 1024]),
                ("blocks.0.mlp.fc1_g.bias", &[2730]),
                ("blocks.0.mlp.norm.weight", &[2730]),
                ("blocks.0.mlp.fc2.weight", &[1024, 2730]),
                ("blocks.0.mlp.fc2.bias", &[1024]),
                ("norm.weight", &[1024]),
            ],
        );
        let norm = NormSpec::layer(1e-6);
        let rotary = RotarySpec { theta: 1e4, scaling: Scaling::None, pairs: Pairs::Neighbors };
        let attention = AttentionSpec {
            biases: Biases { key: false, ..Biases::ALL },
            inner_norm: Some(norm),
            rotary: Some(rotary),
            ..AttentionSpec::plain(1024, 16)
        };
        let feed_forward = FeedForwardSpec {
            inner_norm: Some(norm),
            ..FeedForwardSpec::gated(2730, Activation::Silu, true)
        };
        assert_eq!(spec.blocks, vec![BlockSpec::pre_norm(1024, attention, feed_forward, norm)]);
        assert_eq!(spec.blocks[0].order, Order::Pre);
        assert_eq!(spec.positions, VisionPositions::Table { grid: [24, 24], prefix: 1, interpolation });
        let grid = RotaryGrid::Indices { reference: Some([16, 16]), offset: 0.0 };
        assert_eq!(spec.rotary_grid, Some(grid));
    }
}
