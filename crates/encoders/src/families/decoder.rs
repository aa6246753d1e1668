//! What all decoders have in common: norms by the root mean square, rotary positions, grouped queries, gated feed-forward
//! networks. Many embedding models are decoders that attend in both directions.

use serde_json::Value;

use super::rotary::rotary;
use crate::blocks::Activation;
use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::ModelError;
use crate::spec::{AttentionSpec, Biases, BlockSpec, FeedForwardSpec, MAX_TOKENS, NormSpec, Order, TextSpec};

/// The parts of a decoder, to be changed by its family.
pub(super) struct Decoder<'a> {
    fields: Fields<'a>,
    width: usize,
    /// The attention of every layer.
    pub(super) layers: Vec<AttentionSpec>,
    pub(super) feed_forward: FeedForwardSpec,
    pub(super) norm: NormSpec,
    pub(super) order: Order,
}

impl<'a> Decoder<'a> {
    /// Reads the fields of all decoders. Without `head_dim`, heads have the width `head_width`, or that of their share of the
    /// states.
    pub(super) fn read(fields: Fields<'a>, head_width: Option<usize>) -> Result<Self, ModelError> {
        Self::directed(fields, head_width, is_causal(fields)?)
    }

    /// As [`read`](Self::read), whatever the configuration says about the direction of attention.
    pub(super) fn directed(
        fields: Fields<'a>,
        head_width: Option<usize>,
        causal: bool,
    ) -> Result<Self, ModelError> {
        let width = fields.size("hidden_size", None, SIZE)?;
        let head_width = match (fields.get("head_dim"), head_width) {
            (None, None) => width / fields.heads("num_attention_heads", None, width)?,
            _ => fields.size("head_dim", head_width, SIZE)?,
        };
        let heads = fields.size("num_attention_heads", None, SIZE)?;
        if !head_width.is_multiple_of(2) {
            return Err(fields.error("head_dim", "an even number: halves of a head are rotated together"));
        }
        let key_value_heads = fields.size("num_key_value_heads", Some(heads), SIZE)?;
        if !heads.is_multiple_of(key_value_heads) {
            let expected = format!("a divisor of the number of attention heads, {heads}");
            return Err(fields.error("num_key_value_heads", expected));
        }
        let attention = AttentionSpec {
            key_value_heads,
            head_width,
            biases: Biases::NONE,
            causal,
            ..AttentionSpec::plain(width, heads)
        };
        let activation = match fields.get("hidden_activation") {
            Some(_) => "hidden_activation",
            None => "hidden_act",
        };
        let activation = fields.choice(activation, Some(Activation::Silu), Activation::NAMES)?;
        let inner = fields.size("intermediate_size", None, SIZE)?;
        Ok(Self {
            fields,
            width,
            layers: vec![attention; fields.size("num_hidden_layers", None, LAYERS)?],
            feed_forward: FeedForwardSpec::gated(inner, activation, false),
            norm: NormSpec::rms(fields.epsilon("rms_norm_eps", 1e-6)?),
            order: Order::Pre,
        })
    }

    /// Gives all layers the rotation of the configuration.
    pub(super) fn rotate(&mut self) -> Result<(), ModelError> {
        for layer in &mut self.layers {
            layer.rotary = Some(rotary(self.fields, 10_000.0, layer.head_width)?);
        }
        Ok(())
    }

    /// Limits the attention of some layers to `sliding_window`: a number of tokens including the token itself if they are
    /// causal, else on each side of it.
    pub(super) fn limit(&mut self, windowed: &[bool]) -> Result<(), ModelError> {
        let size = self.fields.size("sliding_window", None, SIZE)?;
        for (layer, _) in self.layers.iter_mut().zip(windowed).filter(|(_, windowed)| **windowed) {
            layer.window = Some(if layer.causal { size - 1 } else { size });
        }
        Ok(())
    }

    /// Returns the specification.
    pub(super) fn spec(self) -> Result<TextSpec, ModelError> {
        let Self { fields, width, feed_forward, norm, order, .. } = self;
        let block =
            |attention| BlockSpec { order, ..BlockSpec::pre_norm(width, attention, feed_forward, norm) };
        let blocks = self.layers.into_iter().map(block).collect();
        let length = fields.size("max_position_embeddings", Some(MAX_TOKENS), SIZE)?.min(MAX_TOKENS);
        let spec = TextSpec::new(fields.size("vocab_size", None, SIZE)?, width, blocks, length);
        Ok(TextSpec { final_norm: Some(norm), ..spec })
    }
}

/// Classes on the hub, and of LLM2Vec and NVIDIA, whose attention has both directions.
const BIDIRECTIONAL: [&str; 5] =
    ["BiModel", "BiForMNTP", "BidirectionalModel", "EncoderModel", "modeling_qwen.Qwen2Model"];

/// Returns whether tokens attend to earlier tokens only.
///
/// The configuration says so in one of many ways; a wrong direction gives plausible but worse embeddings. A model whose code
/// is on the hub and not known is refused, unless the configuration has `is_causal`.
fn is_causal(fields: Fields<'_>) -> Result<bool, ModelError> {
    if fields.get("is_causal").is_some() {
        return fields.flag("is_causal", true);
    }
    if fields.get("use_bidirectional_attention").is_some() {
        return Ok(!fields.flag("use_bidirectional_attention", false)?);
    }
    let is_bidirectional = |name: &str| BIDIRECTIONAL.iter().any(|end| name.ends_with(end));
    let names = fields.get("architectures").and_then(Value::as_array);
    if names.into_iter().flatten().filter_map(Value::as_str).any(is_bidirectional) {
        return Ok(false);
    }
    match fields.get("auto_map").and_then(|map| map.get("AutoModel")) {
        None => Ok(true),
        Some(class) if class.as_str().is_some_and(is_bidirectional) => Ok(false),
        Some(_) => Err(fields.error(
            "auto_map",
            "a known class: the model has code of its own, add `is_causal` to `config.json` to say what it does",
        )),
    }
}

/// The names of the tensors of all decoders, after the rules of a family.
macro_rules! names {
    ($($rule:expr),* $(,)?) => {
        &[
            $($rule,)*
            Rule::Rename("embed_tokens.", "embeddings.word."),
            Rule::Rename("layers.", "blocks."),
            Rule::Rename(".self_attn.", ".attention."),
            Rule::Rename(".q_proj.", ".query."),
            Rule::Rename(".k_proj.", ".key."),
            Rule::Rename(".v_proj.", ".value."),
            Rule::Rename(".o_proj.", ".output."),
            Rule::Rename(".q_norm.", ".query_norm."),
            Rule::Rename(".k_norm.", ".key_norm."),
            Rule::Rename(".input_layernorm.", ".norm1."),
            Rule::Rename(".post_attention_layernorm.", ".norm2."),
            Rule::Rename(".gate_proj.", ".gate."),
            Rule::Rename(".up_proj.", ".up."),
            Rule::Rename(".down_proj.", ".down."),
        ]
    };
}
pub(super) use names;

/// Names that no embedding needs.
pub(super) const IGNORED: &[&str] = &["lm_head.", ".inv_freq"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_direction_of_attention_is_read_from_all_places() {
        for (config, expected) in [
            (json!({}), Ok(true)),
            (json!({"architectures": ["Qwen3ForCausalLM"]}), Ok(true)),
            (json!({"architectures": ["Qwen2ForCausalLM"], "is_causal": false}), Ok(false)),
            (json!({"architectures": ["LlamaBiModel"]}), Ok(false)),
            (json!({"architectures": ["LlamaBiModel"], "is_causal": true}), Ok(true)),
            (json!({"architectures": ["LlamaBidirectionalModel"]}), Ok(false)),
            (json!({"use_bidirectional_attention": true}), Ok(false)),
            (json!({"use_bidirectional_attention": null}), Ok(true)),
            // gte-Qwen2 before its configuration had `is_causal`.
            (
                json!({"architectures": ["Qwen2ForCausalLM"], "auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}}),
                Ok(false),
            ),
            (json!({"auto_map": {"AutoModel": "modeling_llama_encoder.LlamaEncoderModel"}}), Ok(false)),
            (json!({"auto_map": {"AutoConfig": "configuration.Config"}}), Ok(true)),
            (
                json!({"auto_map": {"AutoModel": "modeling_other.OtherModel"}}),
                Err("add `is_causal` to `config.json`"),
            ),
            (json!({"is_causal": "no"}), Err("`is_causal` of the model is \"no\", expected true or false")),
        ] {
            match (is_causal(Fields(&config)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{config}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (found, _) => panic!("{config}: {found:?}"),
            }
        }
    }
}
