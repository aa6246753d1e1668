//! Configurations of the BERT-style families.

use serde_json::{Value, json};

use crate::activation::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Names};

/// A family of BERT-style encoders, which differ in tensor names and positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// BERT: MiniLM, BGE, GTE, E5.
    Bert,
    /// RoBERTa and XLM-RoBERTa, such as multilingual E5: positions start after the id of the padding token.
    Roberta,
    /// MPNet: positions as in RoBERTa, no token types, a relative position bias shared by all layers.
    MpNet,
    /// DistilBERT: BERT without token types.
    DistilBert,
}

/// A validated configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    /// Number of position embeddings.
    pub(crate) positions: usize,
    /// Id of the padding token if positions start after it; tokens with this id do not advance the position.
    pub(crate) padding: Option<usize>,
    /// Number of token type embeddings, if the family has them.
    pub(crate) types: Option<usize>,
    /// Number of buckets of the relative position bias, if the family has one.
    pub(crate) buckets: Option<usize>,
    pub(crate) activation: Activation,
    pub(crate) epsilon: f64,
}

impl Config {
    /// Parses `config.json`.
    pub(crate) fn read(family: Family, config: &Value) -> Result<Self, ModelError> {
        let fields = Fields(config);
        let size = |field, default| fields.size(field, default, SIZE);
        if family == Family::DistilBert {
            let hidden = size("dim", None)?;
            return Ok(Self {
                vocabulary: size("vocab_size", None)?,
                hidden,
                layers: fields.size("n_layers", None, LAYERS)?,
                heads: fields.heads("n_heads", None, hidden)?,
                intermediate: size("hidden_dim", None)?,
                positions: size("max_position_embeddings", Some(512))?,
                padding: None,
                types: None,
                buckets: None,
                activation: fields.choice("activation", Some(Activation::Gelu), Activation::NAMES)?,
                epsilon: 1e-12,
            });
        }
        fields.only("position_embedding_type", json!("absolute"))?;
        fields.only("is_decoder", json!(false))?;
        let hidden = size("hidden_size", None)?;
        let positions = size("max_position_embeddings", Some(512))?;
        let padding = match family {
            // Fixed in transformers, regardless of the configuration.
            Family::MpNet => Some(1),
            Family::Roberta => Some(fields.size("pad_token_id", Some(1), 0..=positions.saturating_sub(2))?),
            Family::Bert | Family::DistilBert => None,
        };
        let has_types = matches!(family, Family::Bert | Family::Roberta);
        let types = has_types.then(|| size("type_vocab_size", Some(2))).transpose()?;
        // Transformers always computes 32 buckets, even if the embedding has more.
        let buckets = (family == Family::MpNet).then(|| {
            fields.size("relative_attention_num_buckets", Some(32), super::relative::BUCKETS..=1 << 16)
        });
        Ok(Self {
            vocabulary: size("vocab_size", None)?,
            hidden,
            layers: fields.size("num_hidden_layers", None, LAYERS)?,
            heads: fields.heads("num_attention_heads", None, hidden)?,
            intermediate: size("intermediate_size", None)?,
            positions,
            padding,
            types,
            buckets: buckets.transpose()?,
            activation: fields.choice("hidden_act", Some(Activation::Gelu), Activation::NAMES)?,
            epsilon: fields.epsilon("layer_norm_eps", 1e-12)?,
        })
    }

    /// Returns the maximum number of tokens of a text.
    pub(crate) fn max_length(&self) -> usize {
        self.positions.saturating_sub(self.padding.map_or(0, |padding| padding + 1))
    }
}

impl Family {
    /// Returns the mapping of tensor names to those of [`Network`](super::network::Network).
    pub(crate) fn names(self) -> Names {
        match self {
            Family::Bert => Names { prefixes: &["bert."], renames: BERT, ignored: IGNORED },
            Family::Roberta => Names { prefixes: &["roberta."], renames: BERT, ignored: IGNORED },
            Family::MpNet => Names { prefixes: &["mpnet."], renames: MPNET, ignored: IGNORED },
            Family::DistilBert => Names { prefixes: &["distilbert."], renames: DISTILBERT, ignored: IGNORED },
        }
    }
}

/// Buffers, and heads for other tasks in published checkpoints.
const IGNORED: &[&str] =
    &["embeddings.position_ids", "embeddings.token_type_ids", "pooler.", "cls.", "lm_head."];

/// Checkpoints converted from TensorFlow have layer norms with `gamma` and `beta`.
const BERT: &[(&str, &str)] = &[
    (".gamma", ".weight"),
    (".beta", ".bias"),
    ("embeddings.word_embeddings.", "embeddings.word."),
    ("embeddings.position_embeddings.", "embeddings.position."),
    ("embeddings.token_type_embeddings.", "embeddings.token_type."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("encoder.layer.", "layers."),
    (".attention.self.", "."),
    (".attention.output.dense.", ".output."),
    (".attention.output.LayerNorm.", ".attention_norm."),
    (".intermediate.dense.", ".up."),
    (".output.dense.", ".down."),
    (".output.LayerNorm.", ".output_norm."),
];

const MPNET: &[(&str, &str)] = &[
    (".gamma", ".weight"),
    (".beta", ".bias"),
    ("embeddings.word_embeddings.", "embeddings.word."),
    ("embeddings.position_embeddings.", "embeddings.position."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("encoder.relative_attention_bias.", "relative."),
    ("encoder.layer.", "layers."),
    (".attention.attn.q.", ".query."),
    (".attention.attn.k.", ".key."),
    (".attention.attn.v.", ".value."),
    (".attention.attn.o.", ".output."),
    (".attention.LayerNorm.", ".attention_norm."),
    (".intermediate.dense.", ".up."),
    (".output.dense.", ".down."),
    (".output.LayerNorm.", ".output_norm."),
];

const DISTILBERT: &[(&str, &str)] = &[
    (".gamma", ".weight"),
    (".beta", ".bias"),
    ("embeddings.word_embeddings.", "embeddings.word."),
    ("embeddings.position_embeddings.", "embeddings.position."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("transformer.layer.", "layers."),
    (".attention.q_lin.", ".query."),
    (".attention.k_lin.", ".key."),
    (".attention.v_lin.", ".value."),
    (".attention.out_lin.", ".output."),
    (".sa_layer_norm.", ".attention_norm."),
    (".ffn.lin1.", ".up."),
    (".ffn.lin2.", ".down."),
    (".output_layer_norm.", ".output_norm."),
];
