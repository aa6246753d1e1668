//! Provenance of features.

use serde::{Deserialize, Serialize};

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

/// The backbone and the settings that produced a set of features.
///
/// A head records the provenance of the features it was trained on, because the features of another backbone are
/// incompatible even if they have the same dimension.
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
    /// Description of the preprocessing or the tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<String>,
    /// Name of the pooling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<String>,
}

impl Provenance {
    /// Creates a provenance with only the name of the model.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), revision: None, weights_sha256: None, preprocessing: None, pooling: None }
    }

    /// Returns the first field that differs, among the fields that both have, or `None` if they are compatible.
    ///
    /// # Examples
    /// ```
    /// use sail_core::Provenance;
    /// let trained = Provenance { pooling: Some("mean".into()), ..Provenance::new("all-MiniLM-L6-v2") };
    /// assert_eq!(trained.contradiction(&Provenance::new("all-MiniLM-L6-v2")), None);
    /// let other = Provenance::new("bge-small-en");
    /// assert_eq!(trained.contradiction(&other), Some("model"));
    /// ```
    pub fn contradiction(&self, other: &Provenance) -> Option<&'static str> {
        fn differ(a: &Option<String>, b: &Option<String>) -> bool {
            matches!((a, b), (Some(a), Some(b)) if a != b)
        }
        if self.model != other.model {
            Some("model")
        } else if differ(&self.revision, &other.revision) {
            Some("revision")
        } else if differ(&self.weights_sha256, &other.weights_sha256) {
            Some("weights_sha256")
        } else if differ(&self.preprocessing, &other.preprocessing) {
            Some("preprocessing")
        } else if differ(&self.pooling, &other.pooling) {
            Some("pooling")
        } else {
            None
        }
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
