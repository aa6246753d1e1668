//! ModernBERT: pre-norm encoders with rotary positions, most blocks with attention in a window.

use super::layer_types::{self, FULL, SLIDING, windowed};
use super::rotary::{base, plain};
use super::{Family, Plan, Source};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{AttentionSpec, Biases, BlockSpec, FeedForwardSpec, NormSpec, RotarySpec, TextSpec};

pub(super) static MODERN_BERT: Family = Family {
    name: "ModernBERT",
    model_types: &["modernbert"],
    checkpoints: &[
        "Alibaba-NLP/gte-modernbert-base",
        "nomic-ai/modernbert-embed-base",
        "ibm-granite/granite-embedding-english-r2",
    ],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let width = fields.size("hidden_size", None, SIZE)?;
    let heads = fields.heads("num_attention_heads", None, width)?;
    let biased = fields.flag("attention_bias", false)?;
    let global = AttentionSpec {
        biases: Biases::new(biased, biased),
        rotary: Some(rotary(fields, FULL, ("global_rope_theta", 160_000.0), width / heads)?),
        ..AttentionSpec::plain(width, heads)
    };
    let local = AttentionSpec {
        rotary: Some(rotary(fields, SLIDING, ("local_rope_theta", 10_000.0), width / heads)?),
        // The window of the configuration has both sides.
        window: Some(fields.size("local_attention", Some(128), SIZE)? / 2),
        ..global.clone()
    };
    let activation = fields.choice("hidden_activation", Some(Activation::Gelu), Activation::NAMES)?;
    let inner = fields.size("intermediate_size", None, SIZE)?;
    let feed_forward = FeedForwardSpec::gated(inner, activation, fields.flag("mlp_bias", false)?);
    let epsilon = fields.epsilon("norm_eps", 1e-5)?;
    let norm = NormSpec { bias: fields.flag("norm_bias", false)?, ..NormSpec::layer(epsilon) };
    let layers = fields.size("num_hidden_layers", None, LAYERS)?;
    let every = fields.size("global_attn_every_n_layers", Some(3), LAYERS)?;
    let windowed = windowed(fields, layers, |layer| !layer.is_multiple_of(every))?;
    let blocks = windowed.into_iter().enumerate().map(|(index, windowed)| {
        let attention = if windowed { &local } else { &global };
        let block = BlockSpec::pre_norm(width, attention.clone(), feed_forward, norm);
        // The first block follows the norm of the embeddings.
        BlockSpec { attention_norm: index > 0, ..block }
    });
    let length = fields.size("max_position_embeddings", Some(8192), SIZE)?;
    let spec = TextSpec {
        embedding_norm: Some(norm),
        final_norm: Some(norm),
        ..TextSpec::new(fields.size("vocab_size", None, SIZE)?, width, blocks.collect(), length)
    };
    let ignored = &["head.", "decoder.", "classifier."];
    Ok(Plan { spec, map: WeightMap { prefixes: &["model."], rules: NAMES, ignored } })
}

/// Reads the rotation of a kind of attention: from `rope_parameters`, or a field in older files.
fn rotary(
    fields: Fields<'_>,
    kind: &'static str,
    (field, default): (&'static str, f64),
    head_width: usize,
) -> Result<RotarySpec, ModelError> {
    layer_types::rotary(fields, kind, default, head_width, || Ok(plain(base(fields, field, default)?)))
}

const NAMES: &[Rule] = &[
    Rule::Rename("embeddings.tok_embeddings.", "embeddings.word."),
    Rule::Rename("final_norm.", "norm."),
    Rule::Rename("layers.", "blocks."),
    Rule::Rename(".attn_norm.", ".norm1."),
    Rule::Split(".attn.Wqkv.", &[".attention.query.", ".attention.key.", ".attention.value."]),
    Rule::Rename(".attn.Wo.", ".attention.output."),
    Rule::Rename(".mlp_norm.", ".norm2."),
    Rule::Split(".mlp.Wi.", &[".mlp.gate.", ".mlp.up."]),
    Rule::Rename(".mlp.Wo.", ".mlp.down."),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::text_spec;
    use super::*;

    /// Alibaba-NLP/gte-modernbert-base
    const GTE: &str = r#"{"architectures": ["ModernBertModel"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 50281, "classifier_activation": "gelu", "classifier_bias": false, "classifier_pooling": "mean",
        "cls_token_id": 50281, "decoder_bias": true, "embedding_dropout": 0.0, "eos_token_id": 50282,
        "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "hidden_activation": "gelu",
        "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 1152, "layer_norm_eps": 1e-05,
        "local_attention": 128, "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": false,
        "mlp_dropout": 0.0, "model_type": "modernbert", "norm_bias": false, "norm_eps": 1e-05,
        "num_attention_heads": 12, "num_hidden_layers": 22, "pad_token_id": 50283, "position_embedding_type": "absolute",
        "sep_token_id": 50282, "vocab_size": 50368}"#;

    #[test]
    fn reads_both_spellings_of_gte_modernbert() {
        let norm = NormSpec { bias: false, ..NormSpec::layer(1e-5) };
        let block = |layer: usize| {
            let is_global = layer.is_multiple_of(3);
            let attention = AttentionSpec {
                biases: Biases::NONE,
                window: (!is_global).then_some(64),
                rotary: Some(plain(if is_global { 160_000.0 } else { 10_000.0 })),
                ..AttentionSpec::plain(768, 12)
            };
            let feed_forward = FeedForwardSpec::gated(1152, Activation::Gelu, false);
            let block = BlockSpec::pre_norm(768, attention, feed_forward, norm);
            BlockSpec { attention_norm: layer > 0, ..block }
        };
        let expected = TextSpec {
            embedding_norm: Some(norm),
            final_norm: Some(norm),
            ..TextSpec::new(50_368, 768, (0..22).map(block).collect(), 8192)
        };
        assert_eq!(text_spec(GTE, &[]).as_ref(), Ok(&expected));

        let types: Vec<&str> =
            (0..22_usize).map(|layer| [FULL, SLIDING][usize::from(layer % 3 > 0)]).collect();
        let theta = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
        let rotations = json!({"full_attention": theta(160_000.0), "sliding_attention": theta(10_000.0)});
        let old = ["global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"];
        let mut changes: Vec<_> = old.map(|field| (field, json!(null))).into();
        changes.extend([("layer_types", json!(types)), ("rope_parameters", rotations)]);
        assert_eq!(text_spec(GTE, &changes), Ok(expected));
        assert!(text_spec(GTE, &[("layer_types", json!(["full_attention"]))]).is_err());
    }
}
