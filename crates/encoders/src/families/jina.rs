//! jina-embeddings-v3 in the layout of transformers: XLM-RoBERTa with rotary positions.

use serde_json::json;

use super::nomic_bert::NAMES;
use super::rotary::rotary;
use super::{Family, Plan, Source};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, WeightMap};
use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec, TextSpec};

pub(super) static JINA: Family = Family {
    name: "jina-embeddings-v3",
    model_types: &["jina_embeddings_v3"],
    checkpoints: &["jinaai/jina-embeddings-v3-hf"],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    fields.only("position_embedding_type", json!("rotary"))?;
    let width = fields.size("hidden_size", None, SIZE)?;
    let heads = fields.heads("num_attention_heads", None, width)?;
    let attention = AttentionSpec {
        rotary: Some(rotary(fields, 20_000.0, width / heads)?),
        ..AttentionSpec::plain(width, heads)
    };
    let activation = fields.choice("hidden_act", Some(Activation::Gelu), Activation::NAMES)?;
    let feed_forward = FeedForwardSpec::plain(fields.size("intermediate_size", None, SIZE)?, activation);
    let norm = NormSpec::layer(fields.epsilon("layer_norm_eps", 1e-5)?);
    let block = BlockSpec::post_norm(width, attention, feed_forward, norm);
    let blocks = vec![block; fields.size("num_hidden_layers", None, LAYERS)?];
    let length = fields.size("max_position_embeddings", Some(8194), SIZE)?;
    let spec = TextSpec {
        token_types: fields.size("type_vocab_size", Some(1), SIZE)?,
        embedding_norm: Some(norm),
        ..TextSpec::new(fields.size("vocab_size", None, SIZE)?, width, blocks, length)
    };
    let ignored = &["pooler.", "lm_head.", "classifier."];
    Ok(Plan {
        spec,
        map: WeightMap { prefixes: &["roberta.", "jina_embeddings_v3."], rules: NAMES, ignored },
    })
}

#[cfg(test)]
mod tests {
    use super::super::rotary::plain;
    use super::super::tests::text_spec;
    use super::*;

    /// jinaai/jina-embeddings-v3-hf
    const V3: &str = r#"{"architectures": ["JinaEmbeddingsV3Model"], "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0, "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 1024,
        "initializer_range": 0.02, "intermediate_size": 4096, "layer_norm_eps": 1e-05, "max_position_embeddings": 8194,
        "model_type": "jina_embeddings_v3", "num_attention_heads": 16, "num_hidden_layers": 24, "pad_token_id": 1,
        "rope_parameters": {"rope_theta": 20000.0, "rope_type": "default"}, "type_vocab_size": 1, "vocab_size": 250002}"#;

    #[test]
    fn reads_jina_embeddings() {
        let norm = NormSpec::layer(1e-5);
        let attention = AttentionSpec { rotary: Some(plain(20_000.0)), ..AttentionSpec::plain(1024, 16) };
        let feed_forward = FeedForwardSpec::plain(4096, Activation::Gelu);
        let block = BlockSpec::post_norm(1024, attention, feed_forward, norm);
        let expected = TextSpec {
            token_types: 1,
            embedding_norm: Some(norm),
            ..TextSpec::new(250_002, 1024, vec![block; 24], 8194)
        };
        assert_eq!(text_spec(V3, &[]), Ok(expected));
    }
}
