//! DINOv3 ViT.

use super::sizes::Sizes;
use super::{Family, Plan, Source, VisionSide};
use crate::config::Fields;
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{
    Biases, FeedForwardSpec, Pairs, RotaryGrid, RotarySpec, Scaling, VisionPositions, VisionSpec,
};

pub(super) static DINOV3: Family = Family {
    name: "DINOv3 ViT",
    model_types: &["dinov3_vit"],
    checkpoints: &[
        "facebook/dinov3-vits16-pretrain-lvd1689m",
        "facebook/dinov3-vits16plus-pretrain-lvd1689m",
        "facebook/dinov3-vitb16-pretrain-lvd1689m",
        "facebook/dinov3-vitl16-pretrain-lvd1689m",
        "facebook/dinov3-vith16plus-pretrain-lvd1689m",
        "facebook/dinov3-vit7b16-pretrain-lvd1689m",
    ],
    vision: Some(VisionSide::Transformer(dinov3)),
    text: None,
};

fn dinov3(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let small = Sizes { width: 384, heads: 6, inner: 1536, epsilon: 1e-5, ..Sizes::BASE };
    let sizes = Sizes::read(fields, small)?;
    let mut block = sizes.block();
    block.layer_scale = true;
    block.attention.biases = Biases {
        query: fields.flag("query_bias", true)?,
        key: fields.flag("key_bias", false)?,
        value: fields.flag("value_bias", true)?,
        output: fields.flag("proj_bias", true)?,
    };
    if !block.attention.head_width.is_multiple_of(4) {
        let expected =
            format!("a number of heads whose width is a multiple of 4, for a width of {}", sizes.width);
        return Err(fields.error("num_attention_heads", expected));
    }
    block.attention.rotary = Some(RotarySpec {
        theta: fields.number("rope_theta", 100.0, 1.0..=1e9)?,
        scaling: Scaling::None,
        pairs: Pairs::Halves,
    });
    let has_bias = fields.flag("mlp_bias", true)?;
    block.feed_forward = FeedForwardSpec {
        gated: fields.flag("use_gated_mlp", false)?,
        bias_in: has_bias,
        bias_out: has_bias,
        ..FeedForwardSpec::plain(sizes.inner, sizes.activation)
    };
    let spec = VisionSpec {
        registers: fields.size("num_register_tokens", Some(0), 0..=1024)?,
        positions: VisionPositions::None,
        rotary_grid: Some(RotaryGrid::Centers),
        ..sizes.spec(block)
    };
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules: NAMES, ignored: &["embeddings.mask_token"] } })
}

/// The names in files, and those in the memory of transformers 5, with `model.`.
const NAMES: &[Rule] = &[
    Rule::Rename("embeddings.cls_token", "class_token"),
    Rule::Rename("embeddings.register_tokens", "registers"),
    Rule::Rename("embeddings.patch_embeddings.", "patch."),
    Rule::Rename("model.layer.", "layer."),
    Rule::Rename("layer.", "blocks."),
    Rule::Rename("attention.q_proj.", "attention.query."),
    Rule::Rename("attention.k_proj.", "attention.key."),
    Rule::Rename("attention.v_proj.", "attention.value."),
    Rule::Rename("attention.o_proj.", "attention.output."),
    Rule::Rename("layer_scale1.lambda1", "scale1"),
    Rule::Rename("layer_scale2.lambda1", "scale2"),
    Rule::Rename("mlp.gate_proj.", "mlp.gate."),
    Rule::Rename("mlp.up_proj.", "mlp.up."),
    Rule::Rename("mlp.down_proj.", "mlp.down."),
];
