//! Decoders of Qwen: Qwen3-Embedding, GTE-Qwen2 and others.

use super::decoder::{Decoder, IGNORED, names};
use super::layer_types::windowed;
use super::{Family, Plan, Source};
use crate::config::{Fields, LAYERS};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{Biases, TextSpec};

pub(super) static QWEN2: Family = Family {
    name: "Qwen2",
    model_types: &["qwen2"],
    checkpoints: &[
        "Alibaba-NLP/gte-Qwen2-1.5B-instruct",
        "Alibaba-NLP/gte-Qwen2-7B-instruct",
        "jinaai/jina-code-embeddings-0.5b",
    ],
    vision: None,
    text: Some(qwen2),
};

pub(super) static QWEN3: Family = Family {
    name: "Qwen3",
    model_types: &["qwen3"],
    checkpoints: &["Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-4B", "Qwen/Qwen3-Embedding-8B"],
    vision: None,
    text: Some(qwen3),
};

fn qwen2(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let mut decoder = Decoder::read(Fields(source.config), None)?;
    for layer in &mut decoder.layers {
        layer.biases = Biases::new(true, false);
    }
    plan(Fields(source.config), decoder)
}

fn qwen3(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let mut decoder = Decoder::read(fields, Some(128))?;
    let biased = fields.flag("attention_bias", false)?;
    for layer in &mut decoder.layers {
        layer.biases = Biases::new(biased, biased);
        layer.query_key_norm = Some(decoder.norm);
    }
    plan(fields, decoder)
}

fn plan(fields: Fields<'_>, mut decoder: Decoder<'_>) -> Result<Plan<TextSpec>, ModelError> {
    decoder.rotate()?;
    // A `sliding_window` without this has no effect.
    if fields.flag("use_sliding_window", false)? {
        let first = fields.size("max_window_layers", Some(28), 0..=*LAYERS.end())?;
        let windowed = windowed(fields, decoder.layers.len(), |layer| layer >= first)?;
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
    use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec};

    /// Qwen/Qwen3-Embedding-0.6B
    const EMBEDDING: &str = r#"{"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
        "max_position_embeddings": 32768, "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16,
        "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null,
        "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.51.3", "use_cache": true, "use_sliding_window": false, "vocab_size": 151669}"#;

    /// Alibaba-NLP/gte-Qwen2-1.5B-instruct
    const GTE: &str = r#"{"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
        "auto_map": {"AutoModel": "modeling_qwen.Qwen2Model", "AutoModelForCausalLM": "modeling_qwen.Qwen2ForCausalLM"},
        "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 1536,
        "initializer_range": 0.02, "intermediate_size": 8960, "max_position_embeddings": 131072,
        "max_window_layers": 21, "model_type": "qwen2", "num_attention_heads": 12, "num_hidden_layers": 28,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072,
        "tie_word_embeddings": false, "torch_dtype": "float32", "use_sliding_window": false, "vocab_size": 151646}"#;

    fn spec(widths: [usize; 2], attention: AttentionSpec, vocabulary: usize, length: usize) -> TextSpec {
        let [width, inner] = widths;
        let norm = NormSpec::rms(1e-6);
        let feed_forward = FeedForwardSpec::gated(inner, Activation::Silu, false);
        let block = BlockSpec::pre_norm(width, attention, feed_forward, norm);
        TextSpec { final_norm: Some(norm), ..TextSpec::new(vocabulary, width, vec![block; 28], length) }
    }

    #[test]
    fn reads_qwen3_embedding() {
        let attention = AttentionSpec {
            key_value_heads: 8,
            head_width: 128,
            biases: Biases::NONE,
            query_key_norm: Some(NormSpec::rms(1e-6)),
            causal: true,
            rotary: Some(plain(1e6)),
            ..AttentionSpec::plain(1024, 16)
        };
        let expected = spec([1024, 3072], attention, 151_669, 32_768);
        assert_eq!(text_spec(EMBEDDING, &[]), Ok(expected.clone()));
        let parameters = json!({"rope_type": "default", "rope_theta": 1e6});
        let new = [("rope_parameters", parameters), ("rope_theta", json!(null))];
        assert_eq!(text_spec(EMBEDDING, &new), Ok(expected));
    }

    #[test]
    fn reads_gte_qwen2() {
        let attention = AttentionSpec {
            key_value_heads: 2,
            biases: Biases::new(true, false),
            rotary: Some(plain(1e6)),
            ..AttentionSpec::plain(1536, 12)
        };
        assert_eq!(text_spec(GTE, &[]), Ok(spec([1536, 8960], attention, 151_646, 131_072)));
    }

    #[test]
    fn windows_are_those_of_the_last_layers() {
        let windowed = text_spec(GTE, &[("use_sliding_window", json!(true)), ("sliding_window", json!(64))]);
        let windows = windowed.unwrap().blocks.into_iter().map(|block| block.attention.window);
        assert!(windows.enumerate().all(|(layer, window)| window == (layer >= 21).then_some(64)));
    }

    #[test]
    fn contradictory_sizes_are_refused() {
        for (field, value, expected) in [
            ("num_key_value_heads", json!(5), "expected a divisor of the number of attention heads, 16"),
            ("head_dim", json!(63), "expected an even number"),
            ("num_hidden_layers", json!(0), "expected an integer from 1"),
            ("rope_scaling", json!({"type": "yarn", "factor": 4.0}), "\"yarn\""),
        ] {
            let error = text_spec(EMBEDDING, &[(field, value)]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let error = text_spec(GTE, &[("num_attention_heads", json!(7))]).unwrap_err();
        assert!(error.contains("`num_attention_heads` of the model is 7, expected a divisor"), "{error}");
    }
}
