//! BERT and RoBERTa: post-norm encoders with learned positions, such as MiniLM, BGE and E5.

use serde_json::json;

use super::{Family, Plan, Source};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec, Offset, TextPositions, TextSpec};

pub(super) static BERT: Family = Family {
    name: "BERT",
    model_types: &["bert"],
    checkpoints: &[
        "sentence-transformers/all-MiniLM-L6-v2",
        "BAAI/bge-large-en-v1.5",
        "thenlper/gte-large",
        "intfloat/e5-large-v2",
    ],
    vision: None,
    text: Some(bert),
};

pub(super) static ROBERTA: Family = Family {
    name: "RoBERTa",
    model_types: &["roberta", "xlm-roberta", "camembert"],
    checkpoints: &[
        "sentence-transformers/all-roberta-large-v1",
        "intfloat/multilingual-e5-large",
        "BAAI/bge-m3",
        "sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
    ],
    vision: None,
    text: Some(roberta),
};

fn bert(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let mut spec = Sizes::read(fields)?.spec(Offset::Zero);
    spec.token_types = fields.size("type_vocab_size", Some(2), SIZE)?;
    Ok(Plan { spec, map: WeightMap { prefixes: &["bert."], rules: NAMES, ignored: IGNORED } })
}

fn roberta(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let sizes = Sizes::read(fields)?;
    let padding = fields.size("pad_token_id", Some(1), 0..=sizes.positions.saturating_sub(2))?;
    let mut spec = sizes.spec(Offset::AfterPadding(padding));
    spec.token_types = fields.size("type_vocab_size", Some(2), SIZE)?;
    Ok(Plan { spec, map: WeightMap { prefixes: &["roberta."], rules: NAMES, ignored: IGNORED } })
}

/// What the configurations of post-norm encoders have in common.
pub(super) struct Sizes {
    pub(super) vocabulary: usize,
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) inner: usize,
    pub(super) positions: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

impl Sizes {
    /// Reads the fields of BERT.
    pub(super) fn read(fields: Fields<'_>) -> Result<Self, ModelError> {
        fields.only("position_embedding_type", json!("absolute"))?;
        fields.only("is_decoder", json!(false))?;
        let width = fields.size("hidden_size", None, SIZE)?;
        Ok(Self {
            vocabulary: fields.size("vocab_size", None, SIZE)?,
            width,
            layers: fields.size("num_hidden_layers", None, LAYERS)?,
            heads: fields.heads("num_attention_heads", None, width)?,
            inner: fields.size("intermediate_size", None, SIZE)?,
            positions: fields.size("max_position_embeddings", Some(512), SIZE)?,
            activation: fields.choice("hidden_act", Some(Activation::Gelu), Activation::NAMES)?,
            epsilon: fields.epsilon("layer_norm_eps", 1e-12)?,
        })
    }

    /// A BERT without token types.
    pub(super) fn spec(self, offset: Offset) -> TextSpec {
        let norm = NormSpec::layer(self.epsilon);
        let attention = AttentionSpec::plain(self.width, self.heads);
        let feed_forward = FeedForwardSpec::plain(self.inner, self.activation);
        let block = BlockSpec::post_norm(self.width, attention, feed_forward, norm);
        let unused = match offset {
            Offset::Zero => 0,
            Offset::AfterPadding(padding) => padding + 1,
        };
        let max_length = self.positions.saturating_sub(unused);
        TextSpec {
            positions: TextPositions::Table { count: self.positions, offset },
            embedding_norm: Some(norm),
            ..TextSpec::new(self.vocabulary, self.width, vec![block; self.layers], max_length)
        }
    }
}

/// Buffers, and heads for other tasks in published checkpoints.
pub(super) const IGNORED: &[&str] =
    &["embeddings.position_ids", "embeddings.token_type_ids", "pooler.", "cls.", "lm_head."];

/// Checkpoints converted from TensorFlow have layer norms with `gamma` and `beta`.
const NAMES: &[Rule] = &[
    Rule::Rename(".gamma", ".weight"),
    Rule::Rename(".beta", ".bias"),
    Rule::Rename("embeddings.word_embeddings.", "embeddings.word."),
    Rule::Rename("embeddings.position_embeddings.", "embeddings.position."),
    Rule::Rename("embeddings.token_type_embeddings.", "embeddings.token_type."),
    Rule::Rename("embeddings.LayerNorm.", "embeddings.norm."),
    Rule::Rename("encoder.layer.", "blocks."),
    Rule::Rename(".attention.self.", ".attention."),
    Rule::Rename(".attention.output.dense.", ".attention.output."),
    Rule::Rename(".attention.output.LayerNorm.", ".norm1."),
    Rule::Rename(".intermediate.dense.", ".mlp.up."),
    Rule::Rename(".output.dense.", ".mlp.down."),
    Rule::Rename(".output.LayerNorm.", ".norm2."),
];

#[cfg(test)]
mod tests {
    use super::super::tests::text_spec;
    use super::*;

    /// sentence-transformers/all-MiniLM-L6-v2
    const MINI_LM: &str = r#"{"_name_or_path": "nreimers/MiniLM-L6-H384-uncased", "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 384, "initializer_range": 0.02, "intermediate_size": 1536,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12,
        "num_hidden_layers": 6, "pad_token_id": 0, "position_embedding_type": "absolute",
        "transformers_version": "4.8.2", "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522}"#;

    /// BAAI/bge-m3
    const BGE_M3: &str = r#"{"architectures": ["XLMRobertaModel"], "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0, "classifier_dropout": null, "eos_token_id": 2, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 4096,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 8194, "model_type": "xlm-roberta",
        "num_attention_heads": 16, "num_hidden_layers": 24, "output_past": true, "pad_token_id": 1,
        "position_embedding_type": "absolute", "torch_dtype": "float32", "transformers_version": "4.33.0",
        "type_vocab_size": 1, "use_cache": true, "vocab_size": 250002}"#;

    fn expected(width: usize, layers: usize, heads: usize, epsilon: f64) -> TextSpec {
        let norm = NormSpec::layer(epsilon);
        let feed_forward = FeedForwardSpec::plain(4 * width, Activation::Gelu);
        let block = BlockSpec::post_norm(width, AttentionSpec::plain(width, heads), feed_forward, norm);
        TextSpec { embedding_norm: Some(norm), ..TextSpec::new(30_522, width, vec![block; layers], 512) }
    }

    #[test]
    fn reads_published_configurations() {
        let mini_lm = TextSpec {
            positions: TextPositions::Table { count: 512, offset: Offset::Zero },
            token_types: 2,
            ..expected(384, 6, 12, 1e-12)
        };
        assert_eq!(text_spec(MINI_LM, &[]), Ok(mini_lm));
        let bge_m3 = TextSpec {
            vocabulary: 250_002,
            positions: TextPositions::Table { count: 8194, offset: Offset::AfterPadding(1) },
            token_types: 1,
            max_length: 8192,
            ..expected(1024, 24, 16, 1e-5)
        };
        assert_eq!(text_spec(BGE_M3, &[]), Ok(bge_m3));
    }
}
