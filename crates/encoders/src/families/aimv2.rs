//! AIMv2, in the files of its authors and in those of transformers.

use serde_json::json;

use super::sizes::Sizes;
use super::{Family, Plan, Source, VisionSide, clip};
use crate::blocks::Activation;
use crate::config::{Fields, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{
    Biases, FeedForwardSpec, Interpolation, MapSpec, NormSpec, VisionHead, VisionPositions, VisionSpec,
};

/// There is no class token. The pooled output is that of the attention head of the models with texts (`lit`), else the mean of
/// the patches.
pub(super) static AIMV2: Family = Family {
    name: "AIMv2",
    model_types: &["aimv2", "aimv2_vision_model"],
    checkpoints: &[
        "apple/aimv2-large-patch14-224",
        "apple/aimv2-huge-patch14-224",
        "apple/aimv2-large-patch14-336",
        "apple/aimv2-large-patch14-native",
        "apple/aimv2-large-patch14-224-lit",
    ],
    vision: Some(VisionSide::Transformer(vision)),
    text: None,
};

fn vision(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let tower = fields.object("vision_config")?.unwrap_or(fields);
    let large = Sizes {
        width: 1024,
        layers: 24,
        heads: 8,
        inner: 2816,
        patch: 14,
        activation: Activation::Silu,
        ..Sizes::BASE
    };
    let sizes = Sizes::read(tower, large)?;
    let norm = NormSpec::rms(tower.epsilon("rms_norm_eps", 1e-5)?);
    let bias = tower.flag("qkv_bias", false)?;
    let mut block = sizes.block();
    block.norm = norm;
    block.attention.biases = Biases::new(bias, bias);
    block.feed_forward =
        FeedForwardSpec::gated(sizes.inner, sizes.activation, tower.flag("mlp_bias", false)?);
    let mut spec = VisionSpec { class_tokens: 0, patch_norm: Some(norm), ..sizes.spec(block) };
    let is_original = source.checkpoint.names().any(|name| name.starts_with("trunk."));
    let has = |name: &str| source.checkpoint.names().any(|found| found.ends_with(name));
    let is_native = if is_original {
        tower.only("use_bias", json!(false))?;
        !has("preprocessor.pos_embed")
    } else {
        tower.flag("is_native", false)?
    };
    spec.positions = if !is_native {
        sizes.table(0, Interpolation::Fixed)
    } else if sizes.width.is_multiple_of(4) {
        VisionPositions::SinCos
    } else {
        return Err(tower.error("hidden_size", "a multiple of 4"));
    };
    let has_head = !is_original && tower.flag("use_head", true)?;
    spec.head = Some(if has_head {
        let heads = sizes.heads;
        VisionHead::Map(MapSpec { heads, prefix: true, query: false, bias, norm: None, feed_forward: None })
    } else {
        VisionHead::PatchMean
    });
    if has("visual_projection.weight") {
        spec.projection = Some(fields.size("projection_dim", Some(512), SIZE)?);
    }
    let rules = if is_original { ORIGINAL_NAMES } else { NAMES };
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules, ignored: clip::VISION_IGNORED } })
}

const NAMES: &[Rule] = &[
    Rule::Rename("vision_model.", ""),
    Rule::Rename("embeddings.patch_embed.", "patch."),
    Rule::Rename("embeddings.rms_norm.", "patch_norm."),
    Rule::Rename("embeddings.position_embedding.weight", "positions"),
    Rule::Rename("encoder.layers.", "blocks."),
    Rule::Rename("attention.q_proj.", "attention.query."),
    Rule::Rename("attention.k_proj.", "attention.key."),
    Rule::Rename("attention.v_proj.", "attention.value."),
    Rule::Rename("attention.out_proj.", "attention.output."),
    Rule::Rename("rms_norm1.", "norm1."),
    Rule::Rename("rms_norm2.", "norm2."),
    Rule::Rename("ffn.gate_proj.", "mlp.gate."),
    Rule::Rename("ffn.up_proj.", "mlp.up."),
    Rule::Rename("ffn.down_proj.", "mlp.down."),
    Rule::Rename("rms_norm.", "norm."),
    Rule::Rename("head.cls_token", "map.probe"),
    Rule::Rename("head.k_proj.", "map.key."),
    Rule::Rename("head.v_proj.", "map.value."),
    Rule::Rename("head.output_proj.", "map.output."),
    Rule::Rename("visual_projection.", "projection."),
];

const ORIGINAL_NAMES: &[Rule] = &[
    Rule::Rename("preprocessor.patchifier.proj.", "patch."),
    Rule::Rename("preprocessor.patchifier.norm.", "patch_norm."),
    Rule::Rename("preprocessor.pos_embed", "positions"),
    Rule::Rename("trunk.blocks.", "blocks."),
    Rule::Rename("norm_1.", "norm1."),
    Rule::Rename("norm_2.", "norm2."),
    Rule::Split("attn.qkv.", &["attention.query.", "attention.key.", "attention.value."]),
    Rule::Rename("attn.proj.", "attention.output."),
    Rule::Rename("mlp.fc1.", "mlp.gate."),
    Rule::Rename("mlp.fc2.", "mlp.down."),
    Rule::Rename("mlp.fc3.", "mlp.up."),
    Rule::Rename("trunk.post_trunk_norm.", "norm."),
];
