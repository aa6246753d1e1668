//! NV-Embed: Mistral with attention in both directions, then attention of the tokens to learned latents.

use serde_json::json;

use super::decoder::{Decoder, IGNORED, names};
use super::{Family, Plan, Source};
use crate::config::{Fields, SIZE};
use crate::pretrained::{ModelError, Rule, WeightMap};
use crate::spec::{LatentSpec, TextHead, TextSpec};

pub(super) static NV_EMBED: Family = Family {
    name: "NV-Embed",
    model_types: &["nvembed"],
    checkpoints: &["nvidia/NV-Embed-v2"],
    vision: None,
    text: Some(text),
};

fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    let fields = Fields(source.config);
    // Both directions.
    fields.only("mask_type", json!("b"))?;
    let object = |field| fields.object(field)?.ok_or_else(|| fields.error(field, "an object"));
    let mut decoder = Decoder::directed(object("text_config")?, None, false)?;
    decoder.rotate()?;
    let spec = decoder.spec()?;

    let latent = object("latent_attention_config")?;
    let width = |field| latent.size(field, Some(spec.width), spec.width..=spec.width);
    width("hidden_dim")?;
    let head = LatentSpec {
        latents: latent.size("num_latents_value", Some(512), SIZE)?,
        latent_width: width("latent_dim")?,
        heads: latent.size("num_cross_heads", Some(8), SIZE)?,
        head_width: latent.size("cross_dim_head", Some(4096), SIZE)?,
        multiplier: 4,
        normalize: latent.flag("output_normalize", true)?,
        pools_prompt: !fields.flag("is_mask_instruction", true)?,
    };
    let spec =
        TextSpec { head: Some(TextHead::Latent(head)), appends_end: fields.flag("add_eos", true)?, ..spec };
    Ok(Plan { spec, map: WeightMap { prefixes: &[], rules: NAMES, ignored: IGNORED } })
}

const NAMES: &[Rule] = names![
    Rule::Rename("embedding_model.", ""),
    // As a layer, like all others.
    Rule::Rename("latent_attention_model.latents", "latent.latents"),
    Rule::Rename("latent_attention_model.cross_attend_blocks.0.norm", "latent.norm"),
    Rule::Rename("latent_attention_model.cross_attend_blocks.0.fn.to_q.", "latent.query."),
    Rule::Split("latent_attention_model.cross_attend_blocks.0.fn.to_kv.", &["latent.key.", "latent.value."]),
    Rule::Rename("latent_attention_model.cross_attend_blocks.0.fn.to_out.", "latent.output."),
    Rule::Rename("latent_attention_model.cross_attend_blocks.1.norm.", "latent.ff_norm."),
    Rule::Split(
        "latent_attention_model.cross_attend_blocks.1.fn.net.0.",
        &["latent.mlp.up.", "latent.mlp.gate."]
    ),
    Rule::Rename("latent_attention_model.cross_attend_blocks.1.fn.net.2.", "latent.mlp.down."),
];

#[cfg(test)]
mod tests {
    use super::super::rotary::plain;
    use super::super::tests::text_spec;
    use super::*;
    use crate::blocks::Activation;
    use crate::spec::{AttentionSpec, Biases, BlockSpec, FeedForwardSpec, NormSpec};

    /// nvidia/NV-Embed-v2
    const V2: &str = r#"{"_name_or_path": "nvidia/NV-Embed-v2", "add_eos": true, "add_pad_token": true,
        "architectures": ["NVEmbedModel"], "auto_map": {"AutoConfig": "configuration_nvembed.NVEmbedConfig",
        "AutoModel": "modeling_nvembed.NVEmbedModel"}, "hidden_size": 4096, "is_mask_instruction": true,
        "latent_attention_config": {"cross_dim_head": 4096, "hidden_dim": 4096, "latent_dim": 4096,
        "model_type": "latent_attention", "num_cross_heads": 8, "num_latents_value": 512, "output_normalize": true},
        "mask_type": "b", "model_type": "nvembed", "padding_side": "right", "text_config": {
        "_name_or_path": "nvidia/NV-Embed-v2", "architectures": ["MistralModel"], "attention_dropout": 0.0,
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "model_type": "bidir_mistral", "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "sliding_window": 4096, "vocab_size": 32000}, "torch_dtype": "float16"}"#;

    #[test]
    fn reads_nv_embed() {
        let attention = AttentionSpec {
            key_value_heads: 8,
            biases: Biases::NONE,
            rotary: Some(plain(1e4)),
            ..AttentionSpec::plain(4096, 32)
        };
        let norm = NormSpec::rms(1e-5);
        let feed_forward = FeedForwardSpec::gated(14_336, Activation::Silu, false);
        let block = BlockSpec::pre_norm(4096, attention, feed_forward, norm);
        let head = LatentSpec {
            latents: 512,
            latent_width: 4096,
            heads: 8,
            head_width: 4096,
            multiplier: 4,
            normalize: true,
            pools_prompt: false,
        };
        let expected = TextSpec {
            final_norm: Some(norm),
            head: Some(TextHead::Latent(head)),
            appends_end: true,
            ..TextSpec::new(32_000, 4096, vec![block; 32], 32_768)
        };
        assert_eq!(text_spec(V2, &[]), Ok(expected));
        for (field, value, expected) in [
            ("mask_type", json!("c"), "`mask_type` of the model is \"c\", expected \"b\""),
            ("text_config", json!(null), "`text_config` of the model is missing, expected an object"),
            (
                "latent_attention_config",
                json!({"latent_dim": 512}),
                "`latent_dim` of the model is 512, expected 4096",
            ),
        ] {
            let error = text_spec(V2, &[(field, value)]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
