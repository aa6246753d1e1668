//! GTE v1.5: post-norm encoders with rotary positions and gated feed-forward networks.

use serde_json::json;

use super::rotary::rotary;
use super::{Family, Plan, Source};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec, TextSpec};

pub(super) static GTE: Family = Family {
    name: "GTE v1.5",
    // Of the authors, whose code is on the hub, and of transformers.
    model_types: &["new", "gte"],
    checkpoints: &[
        "Alibaba-NLP/gte-large-en-v1.5",
        "Alibaba-NLP/gte-base-en-v1.5",
        "Alibaba-NLP/gte-multilingual-base",
        "Snowflake/snowflake-arctic-embed-m-v2.0",
    ],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    fields.only("position_embedding_type", json!("rope"))?;
    fields.only("layer_norm_type", json!("layer_norm"))?;
    for option in ["logn_attention_scale", "logn_attention_clip1"] {
        fields.only(option, json!(false))?;
    }
    let width = fields.size("hidden_size", None, SIZE)?;
    let heads = fields.heads("num_attention_heads", None, width)?;
    let theta = if source.config["model_type"] == "new" { 10_000.0 } else { 160_000.0 };
    let attention = AttentionSpec {
        rotary: Some(rotary(fields, theta, width / heads)?),
        ..AttentionSpec::plain(width, heads)
    };
    let activation = fields.choice("hidden_act", Some(Activation::Gelu), Activation::NAMES)?;
    let inner = fields.size("intermediate_size", None, SIZE)?;
    let feed_forward = FeedForwardSpec { bias_out: true, ..FeedForwardSpec::gated(inner, activation, false) };
    let norm = NormSpec::layer(fields.epsilon("layer_norm_eps", 1e-12)?);
    let block = BlockSpec::post_norm(width, attention, feed_forward, norm);
    let blocks = vec![block; fields.size("num_hidden_layers", None, LAYERS)?];
    let length = fields.size("max_position_embeddings", Some(8192), SIZE)?;
    let types = if source.config["model_type"] == "new" { 2 } else { 1 };
    let spec = TextSpec {
        // The base models have none.
        token_types: fields.size("type_vocab_size", Some(types), 0..=*SIZE.end())?,
        embedding_norm: Some(norm),
        ..TextSpec::new(fields.size("vocab_size", None, SIZE)?, width, blocks, length)
    };
    let ignored = &["pooler.", "lm_head.", "classifier.", "embeddings.position_ids"];
    Ok(Plan { spec, map: WeightMap { prefixes: &["new.", "gte."], rules: NAMES, ignored } })
}

/// The names on the hub, and those of transformers.
const NAMES: &[Rule] = &[
    Rule::Rename("embeddings.word_embeddings.", "embeddings.word."),
    Rule::Rename("embeddings.token_type_embeddings.", "embeddings.token_type."),
    Rule::Rename("embeddings.LayerNorm.", "embeddings.norm."),
    Rule::Rename("encoder.layer.", "layers."),
    Rule::Rename("layers.", "blocks."),
    Rule::Rename(".self_attn.", ".attention."),
    Rule::Split(".qkv_proj.", &[".query.", ".key.", ".value."]),
    Rule::Rename(".q_proj.", ".query."),
    Rule::Rename(".k_proj.", ".key."),
    Rule::Rename(".v_proj.", ".value."),
    Rule::Rename(".o_proj.", ".output."),
    Rule::Rename(".attn_ln.", ".norm1."),
    Rule::Rename(".post_attention_layernorm.", ".norm1."),
    Rule::Split(".up_gate_proj.", &[".up.", ".gate."]),
    Rule::Rename(".up_proj.", ".up."),
    Rule::Rename(".gate_proj.", ".gate."),
    Rule::Rename(".down_proj.", ".down."),
    Rule::Rename(".mlp_ln.", ".norm2."),
    Rule::Rename(".post_mlp_layernorm.", ".norm2."),
];

#[cfg(test)]
mod tests {
    use super::super::tests::text_spec;
    use super::*;
    use crate::spec::{Pairs, RotarySpec, Scaling};

    /// Alibaba-NLP/gte-large-en-v1.5
    const LARGE: &str = r#"{"architectures": ["NewModel"], "attention_probs_dropout_prob": 0.0, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 4096,
        "layer_norm_eps": 1e-12, "layer_norm_type": "layer_norm", "logn_attention_clip1": false,
        "logn_attention_scale": false, "max_position_embeddings": 8192, "model_type": "new", "num_attention_heads": 16,
        "num_hidden_layers": 24, "pack_qkv": true, "pad_token_id": 0, "position_embedding_type": "rope",
        "rope_scaling": {"factor": 2.0, "type": "ntk"}, "rope_theta": 160000, "type_vocab_size": 2,
        "unpad_inputs": false, "use_memory_efficient_attention": false, "vocab_size": 30528}"#;

    #[test]
    fn reads_gte_large() {
        let scaling = Scaling::Linear(2.0_f64.powf(2.0 / 64.0));
        let rotary = RotarySpec { theta: 320_000.0, scaling, pairs: Pairs::Halves };
        let attention = AttentionSpec { rotary: Some(rotary), ..AttentionSpec::plain(1024, 16) };
        let feed_forward =
            FeedForwardSpec { bias_out: true, ..FeedForwardSpec::gated(4096, Activation::Gelu, false) };
        let norm = NormSpec::layer(1e-12);
        let block = BlockSpec::post_norm(1024, attention, feed_forward, norm);
        let expected = TextSpec {
            token_types: 2,
            embedding_norm: Some(norm),
            ..TextSpec::new(30528, 1024, vec![block; 24], 8192)
        };
        assert_eq!(text_spec(LARGE, &[]), Ok(expected));
    }

    #[test]
    fn options_that_change_the_result_are_refused() {
        for (field, value) in [
            ("position_embedding_type", json!("absolute")),
            ("layer_norm_type", json!("rms_norm")),
            ("logn_attention_scale", json!(true)),
            ("rope_scaling", json!({"type": "yarn", "factor": 2.0})),
        ] {
            assert!(text_spec(LARGE, &[(field, value)]).is_err(), "{field}");
        }
        let base = text_spec(LARGE, &[("type_vocab_size", json!(0))]);
        assert_eq!(base.map(|spec| spec.token_types), Ok(0));
    }
}
