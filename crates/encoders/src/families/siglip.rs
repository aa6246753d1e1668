//! SigLIP and SigLIP 2.
//!
//! SigLIP 2 at a fixed size has the `model_type` of SigLIP. NaFlex is run at the size of the images, without padding.

use super::clip::{TEXT_IGNORED, TEXT_NAMES, TextTower, VISION_IGNORED};
use super::sizes::Sizes;
use super::{Family, Plan, Source, VisionSide};
use crate::blocks::Activation;
use crate::config::{Fields, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{
    Interpolation, MapSpec, PatchOrder, TextHead, TextSpec, Token, VisionHead, VisionPositions, VisionSpec,
};

pub(super) static SIGLIP: Family = Family {
    name: "SigLIP",
    model_types: &[
        "siglip",
        "siglip_text_model",
        "siglip_vision_model",
        "siglip2",
        "siglip2_text_model",
        "siglip2_vision_model",
    ],
    checkpoints: &[
        "google/siglip-base-patch16-224",
        "google/siglip-so400m-patch14-384",
        "google/siglip2-base-patch16-224",
        "google/siglip2-large-patch16-256",
        "google/siglip2-so400m-patch14-384",
        "google/siglip2-so400m-patch16-naflex",
    ],
    vision: Some(VisionSide::Transformer(vision)),
    text: Some(text),
};

fn vision(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let tower = fields.object("vision_config")?.unwrap_or(fields);
    let default = Sizes { epsilon: 1e-6, activation: Activation::GeluTanh, ..Sizes::BASE };
    let sizes = Sizes::read(tower, default)?;
    let block = sizes.block();
    let head = MapSpec {
        heads: sizes.heads,
        prefix: true,
        query: true,
        bias: true,
        norm: Some(block.norm),
        feed_forward: Some(block.feed_forward),
    };
    let mut spec = VisionSpec {
        class_tokens: 0,
        positions: sizes.table(0, Interpolation::Bicubic),
        head: tower.flag("vision_use_head", true)?.then_some(VisionHead::Map(head)),
        ..sizes.spec(block)
    };
    if ["siglip2", "siglip2_vision_model"].iter().any(|name| source.config["model_type"] == *name) {
        let patches = tower.size("num_patches", Some(256), 1..=1 << 20)?;
        let side = patches.isqrt();
        if side * side != patches {
            return Err(tower.error("num_patches", "a square"));
        }
        spec.patch_order = PatchOrder::ChannelLast;
        let interpolation = Interpolation::BilinearAntialias;
        spec.positions = VisionPositions::Table { grid: [side; 2], prefix: 0, interpolation };
    }
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules: VISION_NAMES, ignored: VISION_IGNORED } })
}

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let model = Fields(source.config);
    let fields = model.object("text_config")?.unwrap_or(model);
    let defaults = TextTower {
        vocabulary: 32_000,
        width: 768,
        inner: 3072,
        heads: 12,
        length: 64,
        activation: Activation::GeluTanh,
        epsilon: 1e-6,
        causal: false,
    };
    let mut spec = defaults.read(fields)?;
    let projection = Some(fields.size("projection_size", Some(spec.width), SIZE)?);
    spec.head = Some(TextHead::Token { token: Token::Last, projection, bias: true });
    // The model attends to padding, and was trained with lower case, which the files of SigLIP 2 do not say.
    spec.padded = true;
    spec.lower_case = true;
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules: TEXT_NAMES, ignored: TEXT_IGNORED } })
}

const VISION_NAMES: &[Rule] = &[
    Rule::Rename("vision_model.", ""),
    Rule::Rename("embeddings.patch_embedding.", "patch."),
    Rule::Rename("embeddings.position_embedding.weight", "positions"),
    Rule::Rename("encoder.layers.", "blocks."),
    Rule::Rename("self_attn.q_proj.", "attention.query."),
    Rule::Rename("self_attn.k_proj.", "attention.key."),
    Rule::Rename("self_attn.v_proj.", "attention.value."),
    Rule::Rename("self_attn.out_proj.", "attention.output."),
    Rule::Rename("layer_norm1.", "norm1."),
    Rule::Rename("layer_norm2.", "norm2."),
    Rule::Rename("mlp.fc1.", "mlp.up."),
    Rule::Rename("mlp.fc2.", "mlp.down."),
    Rule::Rename("post_layernorm.", "norm."),
    Rule::Split("head.attention.in_proj_", &["map.query.", "map.key.", "map.value."]),
    Rule::Rename("head.attention.out_proj.", "map.output."),
    Rule::Rename("head.layernorm.", "map.norm."),
    Rule::Rename("head.", "map."),
];

#[cfg(test)]
mod tests {
    use super::super::tests::text_spec;
    use super::*;
    use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec, Offset, TextPositions};

    /// google/siglip2-so400m-patch14-384
    const SO400M: &str = r#"{"architectures": ["SiglipModel"], "initializer_factor": 1.0, "model_type": "siglip",
        "text_config": {"hidden_size": 1152, "intermediate_size": 4304, "model_type": "siglip_text_model",
        "num_attention_heads": 16, "num_hidden_layers": 27, "projection_size": 1152, "vocab_size": 256000},
        "torch_dtype": "float32", "vision_config": {"hidden_size": 1152, "image_size": 384}}"#;

    #[test]
    fn reads_siglip() {
        let norm = NormSpec::layer(1e-6);
        let feed_forward = FeedForwardSpec::plain(4304, Activation::GeluTanh);
        let block = BlockSpec::pre_norm(1152, AttentionSpec::plain(1152, 16), feed_forward, norm);
        let expected = TextSpec {
            positions: TextPositions::Table { count: 64, offset: Offset::Zero },
            final_norm: Some(norm),
            head: Some(TextHead::Token { token: Token::Last, projection: Some(1152), bias: true }),
            padded: true,
            lower_case: true,
            ..TextSpec::new(256_000, 1152, vec![block; 27], 64)
        };
        assert_eq!(text_spec(SO400M, &[]), Ok(expected));
        let base = text_spec(r#"{"model_type": "siglip2_text_model"}"#, &[]).unwrap();
        assert_eq!((base.width, base.vocabulary, base.pooled_width()), (768, 32_000, Some(768)));
    }
}
