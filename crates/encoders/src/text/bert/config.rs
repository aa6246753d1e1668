//! What the BERT-style families have in common, and where they differ.

use serde_json::{Value, json};

use crate::pretrained::{ModelError, Names};
use crate::text::fields::{Fields, SIZE};

/// A family of BERT-style encoders: the same layers, under other names and with other positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// BERT: MiniLM, BGE, GTE, E5.
    Bert,
    /// RoBERTa and XLM-RoBERTa, of which multilingual E5 is one: positions begin after the padding token's id.
    Roberta,
    /// MPNet: positions as RoBERTa's, no token types, a relative position bias that all layers share.
    MpNet,
    /// DistilBERT: BERT without token types.
    DistilBert,
}

/// The activation between the two layers of the feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x * Phi(x)` with the error function.
    Gelu,
    /// The same with the tanh approximation.
    GeluTanh,
    /// `max(0, x)`.
    Relu,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    /// Rows of the position embeddings.
    pub(crate) positions: usize,
    /// Where positions begin after a token of this id; tokens of it have no position of their own.
    pub(crate) padding: Option<usize>,
    /// Rows of the token type embeddings, where the family has them.
    pub(crate) types: Option<usize>,
    /// Rows of the relative position bias, where the family has one.
    pub(crate) buckets: Option<usize>,
    pub(crate) activation: Activation,
    pub(crate) epsilon: f64,
}

const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
];

impl Config {
    /// Reads `config.json`.
    pub(crate) fn read(family: Family, config: &Value) -> Result<Self, ModelError> {
        let fields = Fields(config);
        let size = |field, default| fields.size(field, default, SIZE);
        if family == Family::DistilBert {
            let hidden = size("dim", None)?;
            return Ok(Self {
                vocabulary: size("vocab_size", None)?,
                hidden,
                layers: fields.size("n_layers", None, 1..=1024)?,
                heads: heads(fields, "n_heads", hidden)?,
                intermediate: size("hidden_dim", None)?,
                positions: size("max_position_embeddings", Some(512))?,
                padding: None,
                types: None,
                buckets: None,
                activation: fields.choice("activation", Some(Activation::Gelu), ACTIVATIONS)?,
                epsilon: 1e-12,
            });
        }
        fields.only("position_embedding_type", json!("absolute"))?;
        fields.only("is_decoder", json!(false))?;
        let hidden = size("hidden_size", None)?;
        let positions = size("max_position_embeddings", Some(512))?;
        let padding = match family {
            // The reference has it fixed, whatever the configuration says.
            Family::MpNet => Some(1),
            Family::Roberta => Some(fields.size("pad_token_id", Some(1), 0..=positions.saturating_sub(2))?),
            Family::Bert | Family::DistilBert => None,
        };
        let has_types = matches!(family, Family::Bert | Family::Roberta);
        let types = has_types.then(|| size("type_vocab_size", Some(2))).transpose()?;
        // The reference computes 32 buckets, however many the embedding has.
        let buckets = (family == Family::MpNet).then(|| {
            fields.size("relative_attention_num_buckets", Some(32), super::relative::BUCKETS..=1 << 16)
        });
        Ok(Self {
            vocabulary: size("vocab_size", None)?,
            hidden,
            layers: fields.size("num_hidden_layers", None, 1..=1024)?,
            heads: heads(fields, "num_attention_heads", hidden)?,
            intermediate: size("intermediate_size", None)?,
            positions,
            padding,
            types,
            buckets: buckets.transpose()?,
            activation: fields.choice("hidden_act", Some(Activation::Gelu), ACTIVATIONS)?,
            epsilon: fields.epsilon("layer_norm_eps", 1e-12)?,
        })
    }

    /// The longest text, in tokens, that has a position for each.
    pub(crate) fn reach(&self) -> usize {
        self.positions.saturating_sub(self.padding.map_or(0, |padding| padding + 1))
    }
}

fn heads(fields: Fields, field: &'static str, hidden: usize) -> Result<usize, ModelError> {
    let heads = fields.size(field, None, SIZE)?;
    if hidden.is_multiple_of(heads) {
        Ok(heads)
    } else {
        Err(fields.error(field, format!("a divisor of the hidden size, {hidden}")))
    }
}

impl Family {
    /// How its checkpoints name the tensors of [`Network`](super::network::Network).
    pub(crate) fn names(self) -> Names {
        match self {
            Family::Bert => Names { prefixes: &["bert."], renames: BERT, ignored: IGNORED },
            Family::Roberta => Names { prefixes: &["roberta."], renames: BERT, ignored: IGNORED },
            Family::MpNet => Names { prefixes: &["mpnet."], renames: MPNET, ignored: IGNORED },
            Family::DistilBert => Names { prefixes: &["distilbert."], renames: DISTILBERT, ignored: IGNORED },
        }
    }
}

/// Buffers, and heads for other tasks that published sentence encoders still carry.
const IGNORED: &[&str] =
    &["embeddings.position_ids", "embeddings.token_type_ids", "pooler.", "cls.", "lm_head."];

/// Checkpoints converted from TensorFlow call the parameters of a LayerNorm gamma and beta.
const BERT: &[(&str, &str)] = &[
    (".gamma", ".weight"),
    (".beta", ".bias"),
    ("embeddings.word_embeddings.", "embeddings.word."),
    ("embeddings.position_embeddings.", "embeddings.position."),
    ("embeddings.token_type_embeddings.", "embeddings.token_type."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("encoder.layer.", "layers."),
    (".attention.self.", "."),
    (".attention.output.dense.", ".mix."),
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
    (".attention.attn.o.", ".mix."),
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
    (".attention.out_lin.", ".mix."),
    (".sa_layer_norm.", ".attention_norm."),
    (".ffn.lin1.", ".up."),
    (".ffn.lin2.", ".down."),
    (".output_layer_norm.", ".output_norm."),
];
