//! Decoders of Llama, such as those of LLM2Vec with merged adapters.

use super::decoder::{Decoder, IGNORED, names};
use super::{Family, Plan, Source};
use crate::config::Fields;
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{Biases, TextSpec};

pub(super) static LLAMA: Family = Family {
    name: "Llama",
    model_types: &["llama", "llama_bidirec"],
    checkpoints: &["meta-llama/Meta-Llama-3-8B", "nvidia/llama-embed-nemotron-8b"],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let mut decoder = Decoder::read(fields, None)?;
    decoder.rotate()?;
    let biased = fields.flag("attention_bias", false)?;
    for layer in &mut decoder.layers {
        layer.biases = Biases::new(biased, biased);
        layer.causal &= source.config["model_type"] == "llama";
    }
    let biased = fields.flag("mlp_bias", false)?;
    (decoder.feed_forward.bias_in, decoder.feed_forward.bias_out) = (biased, biased);
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
    use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec, RotarySpec, Scaling};

    /// meta-llama/Llama-3.1-8B
    const LLAMA31: &str = r#"{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": 128001, "hidden_act": "silu", "hidden_size": 4096,
        "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128256}"#;

    #[test]
    fn reads_llama() {
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let attention = AttentionSpec {
            key_value_heads: 8,
            biases: Biases::NONE,
            causal: true,
            rotary: Some(RotarySpec { scaling, ..plain(5e5) }),
            ..AttentionSpec::plain(4096, 32)
        };
        let norm = NormSpec::rms(1e-5);
        let feed_forward = FeedForwardSpec::gated(14_336, Activation::Silu, false);
        let block = BlockSpec::pre_norm(4096, attention, feed_forward, norm);
        let spec =
            TextSpec { final_norm: Some(norm), ..TextSpec::new(128_256, 4096, vec![block; 32], 131_072) };
        assert_eq!(text_spec(LLAMA31, &[]), Ok(spec));
    }

    #[test]
    fn the_direction_is_that_of_the_class_or_type() {
        for (field, value, causal) in [
            ("architectures", json!(["LlamaForCausalLM"]), true),
            ("architectures", json!(["LlamaBiModel"]), false),
            ("model_type", json!("llama_bidirec"), false),
        ] {
            let spec = text_spec(LLAMA31, &[(field, value)]).unwrap();
            assert!(spec.blocks.iter().all(|block| block.attention.causal == causal), "{field}");
        }
        let biased =
            text_spec(LLAMA31, &[("mlp_bias", json!(true)), ("attention_bias", json!(true))]).unwrap();
        assert_eq!(biased.blocks[0].attention.biases, Biases::ALL);
        assert!(biased.blocks[0].feed_forward.bias_in && biased.blocks[0].feed_forward.bias_out);
    }
}
