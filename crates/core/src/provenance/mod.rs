//! Provenance of features.

mod contradiction;
mod flat;
mod processor;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use contradiction::Contradiction;
pub use processor::Processor;

use crate::{Dtype, Layer, Quantization, TokenLayout};

/// The modality that features describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Images.
    Image,
    /// Texts.
    Text,
}

impl std::fmt::Display for Modality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Modality::Image => "image",
            Modality::Text => "text",
        })
    }
}

/// A text that is put before every text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The text, not empty.
    pub text: String,
    /// Whether its tokens take part in the pooling.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub pooled: bool,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

impl std::fmt::Display for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}{}", self.text, if self.pooled { "" } else { ", not pooled" })
    }
}

/// The backbone and the settings that produced a set of features.
///
/// A head records the provenance of the features it was trained on, because the features of another backbone are
/// incompatible even if they have the same dimension. A tower with the same settings can be built from it.
///
/// Version 1 of the formats of stores and heads had a line of text in the place of the [`Processor`], and no layer,
/// modules, prompt, precision and quantization; version 2 had no tokens and no adapter. Both are still read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Id of the model on the hub, or its name.
    pub model: String,
    /// Revision of the model, such as a commit hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of the weights, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    /// The preprocessing of images, or the tokenizer.
    #[serde(default, alias = "preprocessing", skip_serializing_if = "Option::is_none")]
    pub processor: Option<Processor>,
    /// Name of the pooling; several that are concatenated are joined with `+`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<String>,
    /// The layer whose states are pooled; the last if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    /// The layout of a row, if it holds token states that are not pooled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenLayout>,
    /// What the model applies after the pooling, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Value>,
    /// The prompt, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// The dtype that the backbone computed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Dtype>,
    /// How the backbone kept its weights, if in fewer bits than it computed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// SHA-256 of the adapters that are merged into the weights, see [`Adapter`](crate::Adapter).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
}

impl Provenance {
    /// Creates a provenance with only the name of the model.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            revision: None,
            weights_sha256: None,
            processor: None,
            pooling: None,
            layer: None,
            tokens: None,
            modules: Vec::new(),
            prompt: None,
            precision: None,
            quantization: None,
            adapter: None,
        }
    }

    /// Returns the version of the format of stores and heads that can hold this provenance, 1 to 3.
    pub fn version(&self) -> u32 {
        if self.tokens.is_some() || self.adapter.is_some() {
            return 3;
        }
        let is_flat = self.processor.is_none()
            && self.layer.is_none()
            && self.modules.is_empty()
            && self.prompt.is_none()
            && self.precision.is_none()
            && self.quantization.is_none();
        if is_flat { 1 } else { 2 }
    }

    /// Returns the known fields as names and text, for people to read.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let modules: Vec<String> = self.modules.iter().map(Value::to_string).collect();
        [
            ("model", Some(self.model.clone())),
            ("revision", self.revision.clone()),
            ("weights", self.weights_sha256.clone()),
            ("input", self.processor.as_ref().map(Processor::to_string)),
            ("pooling", self.pooling.clone()),
            ("layer", self.layer.map(|layer| layer.to_string())),
            ("tokens", self.tokens.map(|tokens| tokens.to_string())),
            ("modules", (!modules.is_empty()).then(|| modules.join(", "))),
            ("prompt", self.prompt.as_ref().map(Prompt::to_string)),
            ("precision", self.precision.map(|dtype| dtype.to_string())),
            ("quantization", self.quantization.map(|quantization| quantization.to_string())),
            ("adapter", self.adapter.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Returns the fields that the values of features depend on, as [`fields`](Self::fields): without the name and the
    /// revision of the model if the hash of its weights is known.
    pub fn identity(&self) -> impl Iterator<Item = (&'static str, String)> {
        let hashed = self.weights_sha256.is_some();
        self.fields().filter(move |(name, _)| !(hashed && matches!(*name, "model" | "revision")))
    }
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.model)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        if let Some(pooling) = &self.pooling {
            write!(f, " ({pooling})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn version_1_is_read_as_values() {
        let stored = json!({
            "model": "all-MiniLM-L6-v2", "weights_sha256": "ab", "pooling": "mean",
            "preprocessing": "tokenizer 00ff, at most 25 tokens with [CLS] [SEP], cut at the right, padded with 0 at the right",
        });
        let read: Provenance = serde_json::from_value(stored).unwrap();
        assert_eq!((read.pooling.as_deref(), read.precision, read.version()), (Some("mean"), None, 2));
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(written["processor"]["max_length"], 25);
        assert_eq!(serde_json::from_value::<Provenance>(written).unwrap(), read);

        let custom = json!({"model": "eye", "preprocessing": "as is"});
        let custom: Provenance = serde_json::from_value(custom).unwrap();
        assert_eq!(custom.processor, Some(Processor::Description("as is".to_owned())));
        assert_eq!(Provenance { pooling: Some("mean".into()), ..Provenance::new("m") }.version(), 1);
    }

    #[test]
    fn prompts_are_written_in_full_only_where_needed() {
        let prompt = |pooled| Prompt { text: "query: ".to_owned(), pooled };
        assert_eq!(serde_json::to_value(prompt(true)).unwrap(), json!({"text": "query: "}));
        for prompt in [prompt(true), prompt(false)] {
            let written = serde_json::to_value(&prompt).unwrap();
            assert_eq!(serde_json::from_value::<Prompt>(written).unwrap(), prompt);
        }
        assert_eq!(prompt(false).to_string(), "\"query: \", not pooled");
    }

    #[test]
    fn known_weights_are_the_identity_of_a_model() {
        let local = Provenance { weights_sha256: Some("ab".into()), ..Provenance::new("copy") };
        let hub = Provenance { model: "org/model".into(), revision: Some("1".into()), ..local.clone() };
        assert!(local.identity().eq(hub.identity()));
        assert!(!Provenance::new("a").identity().eq(Provenance::new("b").identity()));
        let names: Vec<&str> = hub.fields().map(|(name, _)| name).collect();
        assert_eq!(names, ["model", "revision", "weights"]);
    }
}
