//! DistilBERT: BERT with other names and without token types.

use super::bert::{IGNORED, Sizes};
use super::{Family, Plan, Source};
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{Offset, TextSpec};

pub(super) static DISTILBERT: Family = Family {
    name: "DistilBERT",
    model_types: &["distilbert"],
    checkpoints: &["sentence-transformers/msmarco-distilbert-base-tas-b"],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    let width = fields.size("dim", None, SIZE)?;
    let sizes = Sizes {
        vocabulary: fields.size("vocab_size", None, SIZE)?,
        width,
        layers: fields.size("n_layers", None, LAYERS)?,
        heads: fields.heads("n_heads", None, width)?,
        inner: fields.size("hidden_dim", None, SIZE)?,
        positions: fields.size("max_position_embeddings", Some(512), SIZE)?,
        activation: fields.choice("activation", Some(Activation::Gelu), Activation::NAMES)?,
        epsilon: 1e-12,
    };
    let map = WeightMap { prefixes: &["distilbert."], rules: NAMES, ignored: IGNORED };
    Ok(Plan { spec: sizes.spec(Offset::Zero), map })
}

const NAMES: &[Rule] = &[
    Rule::Rename(".gamma", ".weight"),
    Rule::Rename(".beta", ".bias"),
    Rule::Rename("embeddings.word_embeddings.", "embeddings.word."),
    Rule::Rename("embeddings.position_embeddings.", "embeddings.position."),
    Rule::Rename("embeddings.LayerNorm.", "embeddings.norm."),
    Rule::Rename("transformer.layer.", "blocks."),
    Rule::Rename(".attention.q_lin.", ".attention.query."),
    Rule::Rename(".attention.k_lin.", ".attention.key."),
    Rule::Rename(".attention.v_lin.", ".attention.value."),
    Rule::Rename(".attention.out_lin.", ".attention.output."),
    Rule::Rename(".sa_layer_norm.", ".norm1."),
    Rule::Rename(".ffn.lin1.", ".mlp.up."),
    Rule::Rename(".ffn.lin2.", ".mlp.down."),
    Rule::Rename(".output_layer_norm.", ".norm2."),
];

#[cfg(test)]
mod tests {
    use super::super::tests::text_spec;
    use super::*;
    use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec, TextPositions};

    /// sentence-transformers/msmarco-distilbert-base-tas-b
    const BASE: &str = r#"{"_name_or_path": "distilbert-base-uncased", "activation": "gelu",
        "architectures": ["DistilBertModel"], "attention_dropout": 0.1, "dim": 768, "dropout": 0.1,
        "hidden_dim": 3072, "initializer_range": 0.02, "max_position_embeddings": 512, "model_type": "distilbert",
        "n_heads": 12, "n_layers": 6, "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": false, "tie_weights_": true, "transformers_version": "4.6.0.dev0",
        "vocab_size": 30522}"#;

    #[test]
    fn reads_distilbert() {
        let norm = NormSpec::layer(1e-12);
        let feed_forward = FeedForwardSpec::plain(3072, Activation::Gelu);
        let block = BlockSpec::post_norm(768, AttentionSpec::plain(768, 12), feed_forward, norm);
        let expected = TextSpec {
            positions: TextPositions::Table { count: 512, offset: Offset::Zero },
            embedding_norm: Some(norm),
            ..TextSpec::new(30_522, 768, vec![block; 6], 512)
        };
        assert_eq!(text_spec(BASE, &[]), Ok(expected));
    }
}
