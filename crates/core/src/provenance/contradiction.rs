//! Comparison of provenances.

use serde_json::Value;

use super::{Prompt, Provenance};
use crate::Quantization;

/// A field in which two provenances differ.
///
/// # Examples
/// ```
/// use sail_core::{Dtype, Provenance};
/// let trained = Provenance { precision: Some(Dtype::F32), ..Provenance::new("dinov2-small") };
/// let other = Provenance { precision: Some(Dtype::BF16), ..Provenance::new("dinov2-small") };
/// assert_eq!(
///     trained.contradiction(&other).map(|contradiction| contradiction.to_string()).as_deref(),
///     Some("`precision` is bf16, expected f32: encode with the same precision")
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {found}, expected {expected}: {remedy}")]
pub struct Contradiction {
    /// The field.
    pub field: &'static str,
    /// Its value in the other provenance.
    pub found: String,
    /// Its value in the first provenance.
    pub expected: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Provenance {
    /// Returns the first field of another provenance that differs, among the fields that both have, or `None` if they are
    /// compatible.
    ///
    /// Equal hashes of the weights make the same model and different hashes another, whatever the names: a model of the hub
    /// and a local copy of its files are the same. Names and revisions are compared if a hash is unknown; a name without an
    /// organization, that of a folder, is that of a model of any. Layers, modules and prompts belong to the pooling:
    /// where both poolings are known, no prompt differs from a prompt, and no layer is the last. Where both precisions are known, weights that are quantized differ
    /// from those that are not. Weights with adapters differ from those without.
    ///
    /// # Examples
    /// ```
    /// use sail_core::Provenance;
    /// let trained = Provenance { pooling: Some("mean".into()), ..Provenance::new("all-MiniLM-L6-v2") };
    /// assert_eq!(trained.contradiction(&Provenance::new("all-MiniLM-L6-v2")), None);
    /// let other = Provenance::new("bge-small-en");
    /// assert_eq!(trained.contradiction(&other).map(|contradiction| contradiction.field), Some("model"));
    /// ```
    pub fn contradiction(&self, found: &Provenance) -> Option<Contradiction> {
        self.model_difference(found).or_else(|| self.settings_difference(found))
    }

    fn model_difference(&self, found: &Provenance) -> Option<Contradiction> {
        let remedy = "use the same weights";
        let name = |provenance: &Provenance| {
            let revision = provenance.revision.as_ref().map(|revision| format!("@{revision}"));
            format!("{}{}", provenance.model, revision.unwrap_or_default())
        };
        let other =
            |field, remedy| Some(Contradiction { field, found: name(found), expected: name(self), remedy });
        match (&self.weights_sha256, &found.weights_sha256) {
            (Some(own), Some(others)) if own == others => None,
            (Some(own), Some(others)) if self.model == found.model => Some(Contradiction {
                field: "weights_sha256",
                found: format!("{others} ({})", name(found)),
                expected: format!("{own} ({})", name(self)),
                remedy,
            }),
            _ if !is_same_name(&self.model, &found.model) => other("model", "use the same model"),
            _ => match (&self.revision, &found.revision) {
                (Some(own), Some(others)) if own != others => other("revision", "use the same revision"),
                _ => None,
            },
        }
    }

    fn settings_difference(&self, found: &Provenance) -> Option<Contradiction> {
        if self.adapter != found.adapter {
            let shown = |adapter: &Option<String>| adapter.clone().unwrap_or("none".to_owned());
            let (found, expected) = (shown(&found.adapter), shown(&self.adapter));
            let remedy = "encode with the adapters that belong to the head, or without any if it has none";
            return Some(Contradiction { field: "adapter", found, expected, remedy });
        }
        if let (Some(own), Some(others)) = (&self.processor, &found.processor)
            && let Some([expected, found]) = own.difference(others)
        {
            let remedy = "encode with the same preprocessing (for images, the same size) or tokenizer";
            return Some(Contradiction { field: "processor", found, expected, remedy });
        }
        if let (Some(own), Some(others)) = (&self.pooling, &found.pooling) {
            if own != others {
                let [found, expected] = [others, own].map(|pooling| format!("`{pooling}`"));
                let remedy = "encode with the same pooling";
                return Some(Contradiction { field: "pooling", found, expected, remedy });
            }
            let [own, others] = [self, found].map(|provenance| provenance.layer.unwrap_or_default());
            if own != others {
                let [found, expected] = [others, own].map(|layer| layer.to_string());
                let remedy = "encode the same layer";
                return Some(Contradiction { field: "layer", found, expected, remedy });
            }
            if self.modules != found.modules {
                let [found, expected] = [&found.modules, &self.modules].map(|modules| shown(modules));
                let remedy = "encode both with the same files of the model and the same version of sail";
                return Some(Contradiction { field: "modules", found, expected, remedy });
            }
            if self.prompt != found.prompt {
                let shown =
                    |prompt: &Option<Prompt>| prompt.as_ref().map_or("none".to_owned(), Prompt::to_string);
                let [found, expected] = [&found.prompt, &self.prompt].map(shown);
                let remedy = "encode with the same prompt";
                return Some(Contradiction { field: "prompt", found, expected, remedy });
            }
        }
        if let (Some(own), Some(others)) = (self.tokens, found.tokens)
            && own != others
        {
            let [found, expected] = [others, own].map(|tokens| tokens.to_string());
            let remedy = "encode with the same size of images, or length of texts";
            return Some(Contradiction { field: "tokens", found, expected, remedy });
        }
        let (own, others) = self.precision.zip(found.precision)?;
        if own != others {
            let [found, expected] = [others, own].map(|precision| precision.to_string());
            let remedy = "encode with the same precision";
            return Some(Contradiction { field: "precision", found, expected, remedy });
        }
        let shown = |quantization: Option<Quantization>| {
            quantization.map_or("none".to_owned(), |quantization| quantization.to_string())
        };
        (self.quantization != found.quantization).then(|| Contradiction {
            field: "quantization",
            found: shown(found.quantization),
            expected: shown(self.quantization),
            remedy: "encode with the same quantization",
        })
    }
}

/// Returns whether two names may be those of one model: a hub id, and the folder of a copy.
fn is_same_name(own: &str, others: &str) -> bool {
    let without_organization = |name: &str, other: &str| {
        !name.contains('/') && other.rsplit_once('/').is_some_and(|(_, last)| last == name)
    };
    own == others || without_organization(own, others) || without_organization(others, own)
}

fn shown(modules: &[Value]) -> String {
    if modules.is_empty() {
        return "none".to_owned();
    }
    modules.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dtype, Processor, TokenLayout};
    use serde_json::{Map, json};

    fn tokens(length: usize) -> Option<TokenLayout> {
        Some(TokenLayout::Text { length, dim: 2 })
    }

    fn full() -> Provenance {
        let settings =
            Map::from_iter([("max_length".to_owned(), json!(25)), ("side".to_owned(), json!("left"))]);
        Provenance {
            revision: Some("1".into()),
            weights_sha256: Some("ab".into()),
            processor: Some(Processor::Settings(settings)),
            pooling: Some("mean".into()),
            tokens: tokens(25),
            precision: Some(Dtype::F32),
            ..Provenance::new("org/model")
        }
    }

    #[test]
    fn hashes_decide_before_names() {
        let copy = Provenance { model: "copy".into(), revision: None, ..full() };
        assert_eq!(full().contradiction(&copy), None);
        assert_eq!(full().contradiction(&Provenance { revision: Some("2".into()), ..full() }), None);
        let other = Provenance { weights_sha256: Some("cd".into()), ..full() };
        let found = full().contradiction(&other).unwrap();
        assert_eq!(found.field, "weights_sha256");
        assert!(found.to_string().contains("cd (org/model@1), expected ab (org/model@1)"), "{found}");
        // Without a hash, names and revisions.
        let unknown = |model: &str, revision: &str| Provenance {
            weights_sha256: None,
            revision: Some(revision.into()),
            ..Provenance { model: model.into(), ..full() }
        };
        assert_eq!(full().contradiction(&unknown("org/model", "1")), None);
        assert_eq!(full().contradiction(&unknown("org/model", "2")).unwrap().field, "revision");
        assert_eq!(full().contradiction(&unknown("copy", "1")).unwrap().field, "model");
        assert_eq!(full().contradiction(&unknown("other/model", "1")).unwrap().field, "model");
        // A folder with a copy of the model.
        assert_eq!(full().contradiction(&unknown("model", "1")), None);
        assert_eq!(unknown("model", "1").contradiction(&full()), None);
    }

    #[test]
    fn every_setting_is_compared_and_named() {
        let prompt = |pooled| Some(Prompt { text: "query: ".into(), pooled });
        let processor = |value| Some(Processor::Settings(Map::from_iter([("max_length".to_owned(), value)])));
        let cases = [
            (
                Provenance { processor: processor(json!(8)), ..full() },
                "processor",
                "`max_length` 8, expected `max_length` 25",
            ),
            (
                Provenance { processor: processor(json!(25)), ..full() },
                "processor",
                "`side` unset, expected `side` \"left\"",
            ),
            (
                Provenance { processor: Some(Processor::Description("as is".into())), ..full() },
                "processor",
                "`as is`, expected `max_length 25, side \"left\"`",
            ),
            (Provenance { pooling: Some("class".into()), ..full() }, "pooling", "`class`, expected `mean`"),
            (
                Provenance { modules: vec![json!("normalize")], ..full() },
                "modules",
                "\"normalize\", expected none",
            ),
            (Provenance { prompt: prompt(true), ..full() }, "prompt", "\"query: \", expected none"),
            (
                Provenance { tokens: tokens(20), ..full() },
                "tokens",
                "20 tokens of text of 2 values, expected 25 tokens of text of 2 values",
            ),
            (Provenance { precision: Some(Dtype::F16), ..full() }, "precision", "f16, expected f32"),
            (
                Provenance { quantization: Some(Quantization::Int8), ..full() },
                "quantization",
                "int8, expected none",
            ),
            (Provenance { adapter: Some("cd".into()), ..full() }, "adapter", "cd, expected none"),
        ];
        for (other, field, message) in cases {
            let found = full().contradiction(&other).unwrap();
            assert_eq!(found.field, field);
            assert!(found.to_string().contains(message), "{found}");
            assert!(other.contradiction(&full()).is_some(), "{field}");
        }
        let (pooled, excluded) =
            (Provenance { prompt: prompt(true), ..full() }, Provenance { prompt: prompt(false), ..full() });
        assert_eq!(pooled.contradiction(&excluded).unwrap().field, "prompt");
    }

    #[test]
    fn unknown_fields_are_compatible() {
        let named = Provenance::new("org/model");
        assert_eq!(full().contradiction(&named), None);
        assert_eq!(named.contradiction(&full()), None);
        let prompted = Provenance {
            prompt: Some(Prompt { text: "a".into(), pooled: true }),
            ..Provenance::new("org/model")
        };
        assert_eq!(full().contradiction(&prompted), None);
    }
}
