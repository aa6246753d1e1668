//! Gemma 3 for text, such as EmbeddingGemma: most blocks with attention in a window, a norm before and after each part.

use serde_json::Value;

use super::decoder::{Decoder, IGNORED, names};
use super::layer_types::{self, FULL, SLIDING};
use super::rotary::{base, plain, rotary};
use super::{Family, Plan, Source};
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{Biases, NormKind, Order, TextSpec};

pub(super) static GEMMA: Family = Family {
    name: "Gemma 3",
    model_types: &["gemma3_text"],
    checkpoints: &["google/embeddinggemma-300m"],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    fields.only("attn_logit_softcapping", Value::Null)?;
    let mut decoder = Decoder::read(fields, Some(256))?;
    decoder.order = Order::Sandwich;
    decoder.norm.kind = NormKind::RmsPlusOne;
    let heads = fields.size("head_dim", Some(256), SIZE)?;
    let global = layer_types::rotary(fields, FULL, 1e6, heads, || rotary(fields, 1e6, heads))?;
    let local = layer_types::rotary(fields, SLIDING, 1e4, heads, || {
        Ok(plain(base(fields, "rope_local_base_freq", 1e4)?))
    })?;
    let scale = fields.number("query_pre_attn_scalar", 256.0, 1e-6..=1e6)?.powf(-0.5);
    let biased = fields.flag("attention_bias", false)?;
    let pattern = match fields.get("sliding_window_pattern") {
        Some(_) => "sliding_window_pattern",
        None => "_sliding_window_pattern",
    };
    let every = fields.size(pattern, Some(6), LAYERS)?;
    let windowed =
        layer_types::windowed(fields, decoder.layers.len(), |layer| !(layer + 1).is_multiple_of(every))?;
    let window = fields.size("sliding_window", Some(4096), SIZE)?;
    for (layer, windowed) in decoder.layers.iter_mut().zip(windowed) {
        // Both sides together unless causal.
        let window = if layer.causal { window - 1 } else { window / 2 };
        layer.window = windowed.then_some(window);
        layer.rotary = Some(if windowed { local } else { global });
        layer.scale = Some(scale);
        layer.biases = Biases::new(biased, biased);
        layer.query_key_norm = Some(decoder.norm);
    }
    let spec = decoder.spec()?;
    let spec = TextSpec { embedding_scale: Some((spec.width as f64).sqrt()), exceeds_f16: true, ..spec };
    Ok(Plan { spec, map: WeightMap { prefixes: &["model."], rules: NAMES, ignored: IGNORED } })
}

const NAMES: &[Rule] = names![
    Rule::Rename(".post_attention_layernorm.", ".post_norm1."),
    Rule::Rename(".pre_feedforward_layernorm.", ".norm2."),
    Rule::Rename(".post_feedforward_layernorm.", ".post_norm2."),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::text_spec;
    use super::*;
    use crate::blocks::Activation;
    use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec};

    /// google/embeddinggemma-300m, of which `layer_types` repeats what the pattern says.
    const EMBEDDING: &str = r#"{"_sliding_window_pattern": 6, "architectures": ["Gemma3TextModel"],
        "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": null, "bos_token_id": 2,
        "dtype": "float32", "eos_token_id": 1, "final_logit_softcapping": null, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 768, "initializer_range": 0.02,
        "intermediate_size": 1152, "max_position_embeddings": 2048, "model_type": "gemma3_text",
        "num_attention_heads": 3, "num_hidden_layers": 24, "num_key_value_heads": 1, "pad_token_id": 0,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000.0, "rope_scaling": null,
        "rope_theta": 1000000.0, "sliding_window": 512, "use_bidirectional_attention": true, "use_cache": true,
        "vocab_size": 262144}"#;

    #[test]
    fn reads_embedding_gemma() {
        let norm = NormSpec { kind: NormKind::RmsPlusOne, ..NormSpec::rms(1e-6) };
        let feed_forward = FeedForwardSpec::gated(1152, Activation::GeluTanh, false);
        let block = |layer: usize| {
            let global = layer % 6 == 5;
            let attention = AttentionSpec {
                key_value_heads: 1,
                head_width: 256,
                biases: Biases::NONE,
                query_key_norm: Some(norm),
                scale: Some(1.0 / 16.0),
                window: (!global).then_some(256),
                rotary: Some(plain(if global { 1e6 } else { 1e4 })),
                ..AttentionSpec::plain(768, 3)
            };
            BlockSpec { order: Order::Sandwich, ..BlockSpec::pre_norm(768, attention, feed_forward, norm) }
        };
        let expected = TextSpec {
            embedding_scale: Some(768.0_f64.sqrt()),
            final_norm: Some(norm),
            exceeds_f16: true,
            ..TextSpec::new(262_144, 768, (0..24).map(block).collect(), 2048)
        };
        assert_eq!(text_spec(EMBEDDING, &[]), Ok(expected.clone()));
        let types: Vec<_> = (0..24).map(|layer| if layer % 6 == 5 { FULL } else { SLIDING }).collect();
        let parameters =
            json!({FULL: {"rope_type": "default", "rope_theta": 1e6}, SLIDING: {"rope_theta": 1e4}});
        let new = [
            ("layer_types", json!(types)),
            ("rope_parameters", parameters),
            ("_sliding_window_pattern", json!(2)),
        ];
        assert_eq!(text_spec(EMBEDDING, &new), Ok(expected));
        let causal = text_spec(EMBEDDING, &[("use_bidirectional_attention", json!(false))]).unwrap();
        assert_eq!(causal.blocks[0].attention.window, Some(511));
        let error = text_spec(EMBEDDING, &[("attn_logit_softcapping", json!(50.0))]).unwrap_err();
        assert!(error.contains("`attn_logit_softcapping` of the model is 50.0, expected null"), "{error}");
    }
}
