//! Encoders of T5, such as Sentence-T5 and GTR: pre-norm with a learned bias by distance.

use super::{Family, Plan, Source};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{
    AttentionSpec, Biases, BlockSpec, FeedForwardSpec, MAX_TOKENS, NormSpec, RelativeSpec, TextSpec,
};

pub(super) static T5: Family = Family {
    name: "T5",
    model_types: &["t5"],
    checkpoints: &["sentence-transformers/sentence-t5-large", "sentence-transformers/gtr-t5-large"],
    vision: None,
    text: Some(text),
};

/// The feed-forward networks by their names, and whether they are gated.
const FEED_FORWARD: &[(&str, (Activation, bool))] = &[
    ("relu", (Activation::Relu, false)),
    ("gated-gelu", (Activation::GeluTanh, true)),
    ("gated-silu", (Activation::Silu, true)),
];

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let width = fields.size("d_model", None, SIZE)?;
    let attention = AttentionSpec {
        head_width: fields.size("d_kv", None, SIZE)?,
        biases: Biases::NONE,
        scale: Some(1.0),
        ..AttentionSpec::plain(width, fields.size("num_heads", None, SIZE)?)
    };
    let (activation, gated) =
        fields.choice("feed_forward_proj", Some((Activation::Relu, false)), FEED_FORWARD)?;
    let inner = fields.size("d_ff", None, SIZE)?;
    let feed_forward = FeedForwardSpec { gated, ..FeedForwardSpec::gated(inner, activation, false) };
    let norm = NormSpec::rms(fields.epsilon("layer_norm_epsilon", 1e-6)?);
    let block = BlockSpec::pre_norm(width, attention, feed_forward, norm);
    let blocks = vec![block; fields.size("num_layers", None, LAYERS)?];
    let default = RelativeSpec::T5;
    let buckets = fields.size("relative_attention_num_buckets", Some(default.buckets), 4..=1 << 16)?;
    let distances = buckets..=*SIZE.end();
    let max_distance =
        fields.size("relative_attention_max_distance", Some(default.max_distance), distances)?;
    let spec = TextSpec {
        relative: Some(RelativeSpec { rows: buckets, buckets, max_distance }),
        final_norm: Some(norm),
        exceeds_f16: true,
        ..TextSpec::new(fields.size("vocab_size", None, SIZE)?, width, blocks, MAX_TOKENS)
    };
    // The decoder, and copies of the embeddings in older files.
    let ignored = &["decoder.", "lm_head.", "encoder.embed_tokens."];
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules: NAMES, ignored } })
}

const NAMES: &[Rule] = &[
    Rule::Rename("shared.", "embeddings.word."),
    Rule::Rename("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.", "relative."),
    Rule::Rename("encoder.block.", "blocks."),
    Rule::Rename(".layer.0.SelfAttention.q.", ".attention.query."),
    Rule::Rename(".layer.0.SelfAttention.k.", ".attention.key."),
    Rule::Rename(".layer.0.SelfAttention.v.", ".attention.value."),
    Rule::Rename(".layer.0.SelfAttention.o.", ".attention.output."),
    Rule::Rename(".layer.0.layer_norm.", ".norm1."),
    Rule::Rename(".layer.1.DenseReluDense.wi.", ".mlp.up."),
    Rule::Rename(".layer.1.DenseReluDense.wi_0.", ".mlp.gate."),
    Rule::Rename(".layer.1.DenseReluDense.wi_1.", ".mlp.up."),
    Rule::Rename(".layer.1.DenseReluDense.wo.", ".mlp.down."),
    Rule::Rename(".layer.1.layer_norm.", ".norm2."),
    Rule::Rename("encoder.final_layer_norm.", "norm."),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::text_spec;
    use super::*;

    /// sentence-transformers/sentence-t5-large
    const LARGE: &str = r#"{"architectures": ["T5EncoderModel"], "d_ff": 4096, "d_kv": 64, "d_model": 1024,
        "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "relu",
        "gradient_checkpointing": false, "initializer_factor": 1.0, "is_encoder_decoder": true,
        "layer_norm_epsilon": 1e-06, "model_type": "t5", "n_positions": 512, "num_decoder_layers": 24,
        "num_heads": 16, "num_layers": 24, "output_past": true, "pad_token_id": 0,
        "relative_attention_num_buckets": 32, "torch_dtype": "float16", "use_cache": true, "vocab_size": 32128}"#;

    #[test]
    fn reads_sentence_t5() {
        let attention =
            AttentionSpec { biases: Biases::NONE, scale: Some(1.0), ..AttentionSpec::plain(1024, 16) };
        let feed_forward =
            FeedForwardSpec { gated: false, ..FeedForwardSpec::gated(4096, Activation::Relu, false) };
        let norm = NormSpec::rms(1e-6);
        let block = BlockSpec::pre_norm(1024, attention, feed_forward, norm);
        let expected = TextSpec {
            relative: Some(RelativeSpec::T5),
            final_norm: Some(norm),
            exceeds_f16: true,
            ..TextSpec::new(32128, 1024, vec![block; 24], MAX_TOKENS)
        };
        assert_eq!(text_spec(LARGE, &[]), Ok(expected));
        let gated = text_spec(LARGE, &[("feed_forward_proj", json!("gated-gelu"))]).unwrap();
        assert_eq!(gated.blocks[0].feed_forward, FeedForwardSpec::gated(4096, Activation::GeluTanh, false));
        assert!(text_spec(LARGE, &[("relative_attention_num_buckets", json!(3))]).is_err());
    }
}
