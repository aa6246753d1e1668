//! Decoders of Mistral, such as E5-Mistral.

use super::decoder::{Decoder, IGNORED, names};
use super::layer_types::windowed;
use super::{Family, Plan, Source};
use crate::config::Fields;
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::TextSpec;

pub(super) static MISTRAL: Family = Family {
    name: "Mistral",
    model_types: &["mistral"],
    checkpoints: &["intfloat/e5-mistral-7b-instruct", "Salesforce/SFR-Embedding-Mistral"],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let mut decoder = Decoder::read(fields, None)?;
    decoder.rotate()?;
    if fields.get("sliding_window").is_some() {
        let windowed = windowed(fields, decoder.layers.len(), |_| true)?;
        decoder.limit(&windowed)?;
    }
    Ok(Plan {
        spec: decoder.spec()?,
        map: WeightMap { prefixes: &["model."], rules: names![], ignored: IGNORED },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rotary::plain;
    use super::super::tests::text_spec;
    use super::*;
    use crate::blocks::Activation;
    use crate::spec::{AttentionSpec, Biases, BlockSpec, FeedForwardSpec, NormSpec};

    /// intfloat/e5-mistral-7b-instruct
    const E5: &str = r#"{"architectures": ["MistralModel"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768,
        "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "pad_token_id": 2, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096,
        "tie_word_embeddings": false, "torch_dtype": "float16", "use_cache": false, "vocab_size": 32000}"#;

    #[test]
    fn reads_e5_mistral() {
        let attention = AttentionSpec {
            key_value_heads: 8,
            biases: Biases::NONE,
            causal: true,
            window: Some(4095),
            rotary: Some(plain(1e4)),
            ..AttentionSpec::plain(4096, 32)
        };
        let norm = NormSpec::rms(1e-5);
        let feed_forward = FeedForwardSpec::gated(14_336, Activation::Silu, false);
        let block = BlockSpec::pre_norm(4096, attention, feed_forward, norm);
        let expected =
            TextSpec { final_norm: Some(norm), ..TextSpec::new(32_000, 4096, vec![block; 32], 32_768) };
        assert_eq!(text_spec(E5, &[]), Ok(expected));
        let window = |changes| text_spec(E5, changes).unwrap().blocks[0].attention.window;
        assert_eq!(window(&[("sliding_window", json!(null))]), None);
        assert_eq!(window(&[("is_causal", json!(false))]), Some(4096));
    }
}
