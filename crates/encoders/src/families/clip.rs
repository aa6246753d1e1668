//! CLIP of OpenAI and LAION, and MetaCLIP, in the layout of transformers.
//!
//! The class token of the vision side is that after the final norm, which patches do not have. Its pooled output is the
//! projection of the class token into the space of the texts, if the weights have one.

use super::sizes::Sizes;
use super::{Family, Plan, Source, VisionSide};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{
    AttentionSpec, BlockSpec, FeedForwardSpec, Interpolation, NormScope, NormSpec, Offset, TextHead,
    TextPositions, TextSpec, Token, VisionHead, VisionSpec,
};

pub(super) static CLIP: Family = Family {
    name: "CLIP",
    model_types: &[
        "clip",
        "clip_text_model",
        "clip_vision_model",
        "metaclip_2",
        "metaclip_2_text_model",
        "metaclip_2_vision_model",
    ],
    checkpoints: &[
        "openai/clip-vit-base-patch32",
        "openai/clip-vit-base-patch16",
        "openai/clip-vit-large-patch14",
        "openai/clip-vit-large-patch14-336",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        "facebook/metaclip-h14-fullcc2.5b",
    ],
    vision: Some(VisionSide::Transformer(vision)),
    text: Some(text),
};

fn vision(source: &Source<'_>) -> Result<Plan<VisionSpec>, ModelError> {
    let fields = Fields(source.config);
    let tower = fields.object("vision_config")?.unwrap_or(fields);
    let default = Sizes { patch: 32, epsilon: 1e-5, activation: Activation::QuickGelu, ..Sizes::BASE };
    let sizes = Sizes::read(tower, default)?;
    let block = sizes.block();
    let is_whole = ["clip", "metaclip_2"].iter().any(|name| source.config["model_type"] == *name);
    // A vision tower alone may have been saved without its projection.
    let has_projection = is_whole || source.checkpoint.shape("visual_projection.weight").is_some();
    let projection = fields.size("projection_dim", Some(512), SIZE)?;
    let spec = VisionSpec {
        patch_bias: false,
        positions: sizes.table(1, Interpolation::Bicubic),
        pre_norm: Some(block.norm),
        norm_scope: NormScope::ClassToken,
        head: has_projection.then_some(VisionHead::ClassToken),
        projection: has_projection.then_some(projection),
        ..sizes.spec(block)
    };
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules: VISION_NAMES, ignored: VISION_IGNORED } })
}

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let model = Fields(source.config);
    let is = |names: &[&str]| names.iter().any(|name| source.config["model_type"] == *name);
    let fields = model.object("text_config")?.unwrap_or(model);
    let defaults = TextTower {
        vocabulary: 49_408,
        width: 512,
        inner: 2048,
        heads: 8,
        length: 77,
        activation: Activation::QuickGelu,
        epsilon: 1e-5,
        causal: true,
    };
    let mut spec = defaults.read(fields)?;
    let token = match fields.size("eos_token_id", Some(49_407), 0..=*SIZE.end())? {
        // In files of CLIP written before this field was used.
        2 if is(&["clip", "clip_text_model"]) => Token::LargestId,
        end => Token::First(end as i64),
    };
    // A text tower alone may have been saved without its projection.
    let projects = is(&["clip", "metaclip_2"]) || source.checkpoint.shape("text_projection.weight").is_some();
    let projection = projects.then(|| model.size("projection_dim", Some(512), SIZE)).transpose()?;
    spec.head = Some(TextHead::Token { token, projection, bias: false });
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules: TEXT_NAMES, ignored: TEXT_IGNORED } })
}

/// The defaults of the fields of a text side, and its direction.
pub(super) struct TextTower {
    pub(super) vocabulary: usize,
    pub(super) width: usize,
    pub(super) inner: usize,
    pub(super) heads: usize,
    pub(super) length: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
    pub(super) causal: bool,
}

impl TextTower {
    /// Reads a text side without its head.
    pub(super) fn read(self, fields: Fields<'_>) -> Result<TextSpec, ModelError> {
        let width = fields.size("hidden_size", Some(self.width), SIZE)?;
        let heads = fields.heads("num_attention_heads", Some(self.heads), width)?;
        let attention = AttentionSpec { causal: self.causal, ..AttentionSpec::plain(width, heads) };
        let activation = fields.choice("hidden_act", Some(self.activation), Activation::NAMES)?;
        let inner = fields.size("intermediate_size", Some(self.inner), SIZE)?;
        let norm = NormSpec::layer(fields.epsilon("layer_norm_eps", self.epsilon)?);
        let block = BlockSpec::pre_norm(width, attention, FeedForwardSpec::plain(inner, activation), norm);
        let blocks = vec![block; fields.size("num_hidden_layers", Some(12), LAYERS)?];
        let length = fields.size("max_position_embeddings", Some(self.length), SIZE)?;
        let vocabulary = fields.size("vocab_size", Some(self.vocabulary), SIZE)?;
        Ok(TextSpec {
            positions: TextPositions::Table { count: length, offset: Offset::Zero },
            final_norm: Some(norm),
            ..TextSpec::new(vocabulary, width, blocks, length)
        })
    }
}

/// The names of a text side, alone or beside a vision side; the projection of SigLIP is called head.
pub(super) const TEXT_NAMES: &[Rule] = &[
    Rule::Rename("text_model.", ""),
    Rule::Rename("text_projection.", "projection."),
    Rule::Rename("head.", "projection."),
    Rule::Rename("embeddings.token_embedding.", "embeddings.word."),
    Rule::Rename("embeddings.position_embedding.", "embeddings.position."),
    Rule::Rename("encoder.layers.", "blocks."),
    Rule::Rename(".self_attn.q_proj.", ".attention.query."),
    Rule::Rename(".self_attn.k_proj.", ".attention.key."),
    Rule::Rename(".self_attn.v_proj.", ".attention.value."),
    Rule::Rename(".self_attn.out_proj.", ".attention.output."),
    Rule::Rename(".layer_norm1.", ".norm1."),
    Rule::Rename(".layer_norm2.", ".norm2."),
    Rule::Rename(".mlp.fc1.", ".mlp.up."),
    Rule::Rename(".mlp.fc2.", ".mlp.down."),
    Rule::Rename("final_layer_norm.", "norm."),
];

/// The vision side, and what compares the two.
pub(super) const TEXT_IGNORED: &[&str] =
    &["vision_model.", "visual_projection.", "logit_scale", "logit_bias", "embeddings.position_ids"];

const VISION_NAMES: &[Rule] = &[
    Rule::Rename("vision_model.", ""),
    Rule::Rename("embeddings.class_embedding", "class_token"),
    Rule::Rename("embeddings.patch_embedding.", "patch."),
    Rule::Rename("embeddings.position_embedding.weight", "positions"),
    Rule::Rename("pre_layrnorm.", "pre_norm."),
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
    Rule::Rename("visual_projection.", "projection."),
];

/// The text side, and what compares the two.
pub(super) const VISION_IGNORED: &[&str] = &["text_model.", "text_projection.", "logit_scale", "logit_bias"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::text_spec;
    use super::*;

    /// openai/clip-vit-large-patch14, without the fields of generation.
    const LARGE: &str = r#"{"architectures": ["CLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592,
        "model_type": "clip", "projection_dim": 768, "text_config": {"attention_dropout": 0.0, "bos_token_id": 0,
        "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0,
        "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 77,
        "model_type": "clip_text_model", "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1,
        "projection_dim": 768, "vocab_size": 49408}, "vision_config": {"hidden_size": 1024}}"#;

    #[test]
    fn reads_clip_and_the_defaults_of_its_fields() {
        let norm = NormSpec::layer(1e-5);
        let attention = AttentionSpec { causal: true, ..AttentionSpec::plain(768, 12) };
        let feed_forward = FeedForwardSpec::plain(3072, Activation::QuickGelu);
        let block = BlockSpec::pre_norm(768, attention, feed_forward, norm);
        let head = |token, projection| Some(TextHead::Token { token, projection, bias: false });
        let expected = TextSpec {
            positions: TextPositions::Table { count: 77, offset: Offset::Zero },
            final_norm: Some(norm),
            head: head(Token::LargestId, Some(768)),
            ..TextSpec::new(49_408, 768, vec![block; 12], 77)
        };
        assert_eq!(text_spec(LARGE, &[]), Ok(expected));
        let base = text_spec(LARGE, &[("text_config", json!({})), ("projection_dim", json!(null))]).unwrap();
        assert_eq!((base.width, base.blocks[0].attention.heads), (512, 8));
        assert_eq!(base.head, head(Token::First(49_407), Some(512)));
        let alone = text_spec(r#"{"model_type": "clip_text_model", "hidden_act": "gelu"}"#, &[]).unwrap();
        assert_eq!(alone.head, head(Token::First(49_407), None));
        assert_eq!(alone.blocks[0].feed_forward.activation, Activation::Gelu);
        let meta = text_spec(LARGE, &[("model_type", json!("metaclip_2"))]).unwrap();
        assert_eq!(meta.head, head(Token::First(2), Some(768)));
        let vision = text_spec(r#"{"model_type": "clip_vision_model"}"#, &[]).unwrap_err();
        assert!(vision.ends_with("expected a text model: this is the vision side of CLIP alone"), "{vision}");
    }
}
