//! MPNet: BERT with a learned bias by distance and without token types.

use super::bert::{IGNORED, Sizes};
use super::{Family, Plan, Source};
use crate::config::Fields;
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{Offset, RelativeSpec, TextSpec};

pub(super) static MPNET: Family = Family {
    name: "MPNet",
    model_types: &["mpnet"],
    checkpoints: &["sentence-transformers/all-mpnet-base-v2"],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    // Fixed in transformers, regardless of the configuration.
    let mut spec = Sizes::read(fields)?.spec(Offset::AfterPadding(1));
    // Transformers always computes 32 buckets, even if the embedding has more.
    let buckets = RelativeSpec::T5.buckets;
    let rows = fields.size("relative_attention_num_buckets", Some(buckets), buckets..=1 << 16)?;
    spec.relative = Some(RelativeSpec { rows, ..RelativeSpec::T5 });
    Ok(Plan { spec, map: WeightMap { prefixes: &["mpnet."], rules: NAMES, ignored: IGNORED } })
}

const NAMES: &[Rule] = &[
    Rule::Rename(".gamma", ".weight"),
    Rule::Rename(".beta", ".bias"),
    Rule::Rename("embeddings.word_embeddings.", "embeddings.word."),
    Rule::Rename("embeddings.position_embeddings.", "embeddings.position."),
    Rule::Rename("embeddings.LayerNorm.", "embeddings.norm."),
    Rule::Rename("encoder.relative_attention_bias.", "relative."),
    Rule::Rename("encoder.layer.", "blocks."),
    Rule::Rename(".attention.attn.q.", ".attention.query."),
    Rule::Rename(".attention.attn.k.", ".attention.key."),
    Rule::Rename(".attention.attn.v.", ".attention.value."),
    Rule::Rename(".attention.attn.o.", ".attention.output."),
    Rule::Rename(".attention.LayerNorm.", ".norm1."),
    Rule::Rename(".intermediate.dense.", ".mlp.up."),
    Rule::Rename(".output.dense.", ".mlp.down."),
    Rule::Rename(".output.LayerNorm.", ".norm2."),
];

#[cfg(test)]
mod tests {
    use super::super::tests::text_spec;
    use super::*;
    use crate::blocks::Activation;
    use crate::spec::{AttentionSpec, BlockSpec, FeedForwardSpec, NormSpec, TextPositions};

    /// sentence-transformers/all-mpnet-base-v2
    const BASE: &str = r#"{"_name_or_path": "microsoft/mpnet-base", "architectures": ["MPNetForMaskedLM"],
        "attention_probs_dropout_prob": 0.1, "bos_token_id": 0, "eos_token_id": 2, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 514, "model_type": "mpnet", "num_attention_heads": 12,
        "num_hidden_layers": 12, "pad_token_id": 1, "relative_attention_num_buckets": 32,
        "transformers_version": "4.8.2", "vocab_size": 30527}"#;

    #[test]
    fn reads_all_mpnet() {
        let norm = NormSpec::layer(1e-5);
        let feed_forward = FeedForwardSpec::plain(3072, Activation::Gelu);
        let block = BlockSpec::post_norm(768, AttentionSpec::plain(768, 12), feed_forward, norm);
        let expected = TextSpec {
            positions: TextPositions::Table { count: 514, offset: Offset::AfterPadding(1) },
            embedding_norm: Some(norm),
            relative: Some(RelativeSpec::T5),
            ..TextSpec::new(30_527, 768, vec![block; 12], 512)
        };
        assert_eq!(text_spec(BASE, &[]), Ok(expected));
    }
}
