//! nomic-embed-text: post-norm encoders with rotary positions and gated feed-forward networks without biases.

use serde_json::json;

use super::rotary::{base, plain, rotary};
use super::{Family, Plan, Source};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{AttentionSpec, Biases, BlockSpec, FeedForwardSpec, NormSpec, TextSpec};

pub(super) static NOMIC_BERT: Family = Family {
    name: "nomic-embed-text",
    model_types: &["nomic_bert"],
    checkpoints: &["nomic-ai/nomic-embed-text-v1", "nomic-ai/nomic-embed-text-v1.5"],
    vision: None,
    text: Some(text),
};

/// Options of the authors' code that no published checkpoint uses.
const UNUSED: [&str; 8] = [
    "prenorm",
    "causal",
    "use_rms_norm",
    "parallel_block",
    "rotary_emb_interleaved",
    "qkv_proj_bias",
    "mlp_fc1_bias",
    "mlp_fc2_bias",
];

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    for field in ["num_experts", "moe_every_n_layers"] {
        if fields.get(field).is_some_and(|count| *count != json!(0)) {
            return Err(fields
                .error(field, "none: mixtures of experts, as in nomic-embed-text-v2, are not supported"));
        }
    }
    let map = WeightMap { prefixes: &["nomic_bert.", "bert."], rules: NAMES, ignored: &["pooler.", "cls."] };
    let spec = if fields.get("n_embd").is_some() { original(fields)? } else { transformers(fields)? };
    Ok(Plan { spec, map })
}

/// Reads a configuration of the authors, whose code is on the hub.
fn original(fields: Fields<'_>) -> Result<TextSpec, ModelError> {
    for field in UNUSED {
        fields.only(field, json!(false))?;
    }
    fields.number("rotary_emb_fraction", 1.0, 1.0..=1.0)?;
    let width = fields.size("n_embd", None, SIZE)?;
    let heads = fields.heads("n_head", None, width)?;
    let swiglu = [("swiglu", Activation::Silu), ("geglu", Activation::Gelu)];
    let activation = fields.choice("activation_function", None, &swiglu)?;
    let inner = fields.size("n_inner", None, SIZE)?;
    let attention = AttentionSpec {
        rotary: Some(plain(base(fields, "rotary_emb_base", 1000.0)?)),
        ..AttentionSpec::plain(width, heads)
    };
    // Beyond the lengths of training, frequencies depend on the length of the batch.
    let trained = fields.size("max_trained_positions", Some(2048), SIZE)?;
    let sizes = Sizes {
        width,
        vocabulary: fields.size("vocab_size", None, SIZE)?,
        types: fields.size("type_vocab_size", Some(2), 0..=*SIZE.end())?,
        layers: fields.size("n_layer", None, LAYERS)?,
        epsilon: fields.epsilon("layer_norm_epsilon", 1e-12)?,
        length: fields.size("n_positions", Some(trained), SIZE)?.min(trained),
    };
    Ok(sizes.spec(attention, FeedForwardSpec::gated(inner, activation, false)))
}

/// Reads a configuration of transformers.
fn transformers(fields: Fields<'_>) -> Result<TextSpec, ModelError> {
    let width = fields.size("hidden_size", None, SIZE)?;
    let heads = fields.heads("num_attention_heads", None, width)?;
    let head_width = fields.size("head_dim", Some(width / heads), SIZE)?;
    let attention = AttentionSpec {
        head_width,
        rotary: Some(rotary(fields, 1000.0, head_width)?),
        ..AttentionSpec::plain(width, heads)
    };
    let activation = fields.choice("hidden_act", Some(Activation::Silu), Activation::NAMES)?;
    let inner = fields.size("intermediate_size", None, SIZE)?;
    let sizes = Sizes {
        width,
        vocabulary: fields.size("vocab_size", None, SIZE)?,
        types: fields.size("type_vocab_size", Some(2), 0..=*SIZE.end())?,
        layers: fields.size("num_hidden_layers", None, LAYERS)?,
        epsilon: fields.epsilon("layer_norm_eps", 1e-12)?,
        length: fields.size("max_position_embeddings", Some(2048), SIZE)?,
    };
    Ok(sizes.spec(attention, FeedForwardSpec::gated(inner, activation, false)))
}

/// The fields with other names in the two configurations.
struct Sizes {
    vocabulary: usize,
    width: usize,
    types: usize,
    layers: usize,
    epsilon: f64,
    length: usize,
}

impl Sizes {
    fn spec(self, attention: AttentionSpec, feed_forward: FeedForwardSpec) -> TextSpec {
        let norm = NormSpec::layer(self.epsilon);
        let attention = AttentionSpec { biases: Biases::NONE, ..attention };
        let block = BlockSpec::post_norm(self.width, attention, feed_forward, norm);
        TextSpec {
            token_types: self.types,
            embedding_norm: Some(norm),
            ..TextSpec::new(self.vocabulary, self.width, vec![block; self.layers], self.length)
        }
    }
}

/// The names on the hub, and those of transformers; also those of jina-embeddings-v3, which descend from the same code.
pub(super) const NAMES: &[Rule] = &[
    Rule::Rename("embeddings.word_embeddings.", "embeddings.word."),
    Rule::Rename("embeddings.token_type_embeddings.", "embeddings.token_type."),
    Rule::Rename("embeddings.LayerNorm.", "embeddings.norm."),
    Rule::Rename("emb_ln.", "embeddings.norm."),
    Rule::Rename("encoder.layers.", "layers."),
    Rule::Rename("layers.", "blocks."),
    Rule::Rename(".mixer.", ".attn."),
    Rule::Split(".attn.Wqkv.", &[".attention.query.", ".attention.key.", ".attention.value."]),
    Rule::Rename(".attn.out_proj.", ".attention.output."),
    Rule::Rename(".self_attn.q_proj.", ".attention.query."),
    Rule::Rename(".self_attn.k_proj.", ".attention.key."),
    Rule::Rename(".self_attn.v_proj.", ".attention.value."),
    Rule::Rename(".self_attn.o_proj.", ".attention.output."),
    Rule::Rename(".post_attention_layernorm.", ".norm1."),
    Rule::Rename(".mlp.fc1.", ".mlp.up."),
    Rule::Rename(".mlp.fc11.", ".mlp.up."),
    Rule::Rename(".mlp.fc12.", ".mlp.gate."),
    Rule::Rename(".mlp.fc2.", ".mlp.down."),
    Rule::Rename(".mlp.up_proj.", ".mlp.up."),
    Rule::Rename(".mlp.gate_proj.", ".mlp.gate."),
    Rule::Rename(".mlp.down_proj.", ".mlp.down."),
    Rule::Rename(".post_mlp_layernorm.", ".norm2."),
];

#[cfg(test)]
mod tests {
    use super::super::tests::text_spec;
    use super::*;

    /// nomic-ai/nomic-embed-text-v1.5
    const V1_5: &str = r#"{"activation_function": "swiglu", "architectures": ["NomicBertModel"], "attn_pdrop": 0.0,
        "bos_token_id": null, "causal": false, "dense_seq_output": true, "embd_pdrop": 0.0, "eos_token_id": null,
        "fused_bias_fc": true, "fused_dropout_add_ln": true, "initializer_range": 0.02, "layer_norm_epsilon": 1e-12,
        "max_trained_positions": 2048, "mlp_fc1_bias": false, "mlp_fc2_bias": false, "model_type": "nomic_bert",
        "n_embd": 768, "n_head": 12, "n_inner": 3072, "n_layer": 12, "n_positions": 8192, "pad_vocab_size_multiple": 64,
        "parallel_block": false, "parallel_block_tied_norm": false, "prenorm": false, "qkv_proj_bias": false,
        "reorder_and_upcast_attn": false, "resid_pdrop": 0.0, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": false, "rotary_emb_scale_base": null, "rotary_scaling_factor": null,
        "scale_attn_by_inverse_layer_idx": false, "scale_attn_weights": true, "type_vocab_size": 2,
        "use_flash_attn": true, "use_rms_norm": false, "use_xentropy": true, "vocab_size": 30528}"#;

    /// The same model in the configuration of transformers.
    const CONVERTED: &str = r#"{"architectures": ["NomicBertModel"], "head_dim": 64, "hidden_act": "silu",
        "hidden_size": 768, "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 2048,
        "model_type": "nomic_bert", "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0,
        "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"}, "type_vocab_size": 2, "vocab_size": 30528}"#;

    #[test]
    fn reads_both_spellings_of_nomic_embed_text() {
        let norm = NormSpec::layer(1e-12);
        let attention = AttentionSpec {
            biases: Biases::NONE,
            rotary: Some(plain(1000.0)),
            ..AttentionSpec::plain(768, 12)
        };
        let feed_forward = FeedForwardSpec::gated(3072, Activation::Silu, false);
        let block = BlockSpec::post_norm(768, attention, feed_forward, norm);
        let expected = TextSpec {
            token_types: 2,
            embedding_norm: Some(norm),
            ..TextSpec::new(30_528, 768, vec![block; 12], 2048)
        };
        assert_eq!(text_spec(V1_5, &[]).as_ref(), Ok(&expected));
        assert_eq!(text_spec(CONVERTED, &[]), Ok(expected));
    }

    #[test]
    fn mixtures_of_experts_are_refused_by_name() {
        let error = text_spec(V1_5, &[("num_experts", json!(8))]).unwrap_err();
        assert!(error.contains("`num_experts` of the model is 8") && error.contains("text-v2"), "{error}");
        assert!(text_spec(V1_5, &[("prenorm", json!(true))]).is_err());
    }
}
