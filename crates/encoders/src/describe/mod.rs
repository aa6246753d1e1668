//! What is known of families, and understood of a model before it is loaded.

mod image;
mod python;
mod text;

use std::fmt::{self, Display};

use sail_core::{Modality, Processor};
use serde::Serialize;
use serde_json::Value;

pub use image::ImageDescription;
pub use python::reference_code;
pub use text::TextDescription;

use crate::families::{self, FAMILIES, Family, Source};
use crate::pretrained::{ModelError, ModelFolder};

/// A family of backbones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FamilyInfo {
    /// The name of the family.
    pub name: &'static str,
    /// The values of `model_type` in `config.json`.
    pub model_types: &'static [&'static str],
    /// Ids on the Hugging Face hub of checkpoints that it was written for; others with the same layout load as well.
    pub checkpoints: &'static [&'static str],
    /// Whether it encodes images.
    pub images: bool,
    /// Whether it encodes texts.
    pub texts: bool,
}

impl FamilyInfo {
    /// Returns the family of a `config.json`, or `None` if it is of none.
    pub fn of(config: &Value) -> Option<Self> {
        families::find(config).map(Self::from)
    }
}

impl From<&Family> for FamilyInfo {
    fn from(family: &Family) -> Self {
        Self {
            name: family.name,
            model_types: family.model_types,
            checkpoints: family.checkpoints,
            images: family.vision.is_some(),
            texts: family.text.is_some(),
        }
    }
}

/// Returns all families of backbones.
///
/// # Examples
/// ```
/// let family = sail_encoders::families().find(|family| family.model_types.contains(&"dinov2")).unwrap();
/// assert_eq!((family.name, family.images, family.texts), ("DINOv2", true, false));
/// ```
pub fn families() -> impl Iterator<Item = FamilyInfo> {
    FAMILIES.iter().map(|family| FamilyInfo::from(*family))
}

/// What is understood of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelDescription {
    /// Id of the model on the hub, or the name of its folder.
    pub model: String,
    /// The name of the family.
    pub family: &'static str,
    /// Number of values in the checkpoint, also of parts that are not used.
    pub parameters: u64,
    /// The side for images, if there is one.
    pub image: Option<ImageDescription>,
    /// The side for texts, if there is one.
    pub text: Option<TextDescription>,
    /// Sides that the family has but that this model cannot be used for, and why.
    pub unavailable: Vec<String>,
}

/// Describes a model from its files, without reading its weights.
///
/// # Errors
/// Returns [`ModelError`] as [`load_vision`](crate::load_vision) and [`load_text`](crate::load_text) do, except for weights
/// that do not match the configuration. If the family has both sides, only one must be usable.
///
/// # Examples
/// ```
/// use sail_encoders::{ModelFolder, describe};
///
/// let folder = ModelFolder::open("tests/fixtures/text/bert_mean")?;
/// let model = describe(&folder)?;
/// println!("{model}");
/// assert!(model.image.is_none());
/// assert_eq!(model.text.map(|text| text.pooling).as_deref(), Some("mean"));
/// # Ok::<(), sail_encoders::ModelError>(())
/// ```
pub fn describe(folder: &ModelFolder) -> Result<ModelDescription, ModelError> {
    let checkpoint = folder.checkpoint()?;
    let source = Source { config: folder.config(), checkpoint: &checkpoint };
    let family = families::find(folder.config())
        .ok_or_else(|| families::unknown(folder.config(), "ImageEncoder` or `TextEncoder", |_| true))?;
    let mut model = ModelDescription {
        model: folder.name().to_owned(),
        family: family.name,
        parameters: checkpoint.parameters(),
        image: None,
        text: None,
        unavailable: Vec::new(),
    };
    let (images, texts) = (family.vision.is_some(), family.text.is_some());
    // The towers of a model may be checkpoints of their own.
    let model_type = folder.config().get("model_type").and_then(Value::as_str).unwrap_or_default();
    let is_tower = |side: &str| model_type.contains(side);
    if images && !(texts && is_tower("_text")) {
        match image::describe(folder, &source) {
            Ok(image) => model.image = Some(image),
            Err(error) if texts && !is_tower("_vision") => model.unavailable.push(format!("images: {error}")),
            Err(error) => return Err(error),
        }
    }
    if texts && !(images && is_tower("_vision")) {
        match text::describe(folder, &source) {
            Ok(text) => model.text = Some(text),
            Err(error) if model.image.is_some() => model.unavailable.push(format!("texts: {error}")),
            Err(error) => return Err(error),
        }
    }
    Ok(model)
}

impl ModelDescription {
    /// Returns the sides of the model.
    pub fn sides(&self) -> impl Iterator<Item = Modality> {
        let image = self.image.is_some().then_some(Modality::Image);
        image.into_iter().chain(self.text.is_some().then_some(Modality::Text))
    }
}

impl Display for ModelDescription {
    /// Formats a property per line, in the order of the computation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "model", &self.model)?;
        line(f, "family", self.family)?;
        line(f, "parameters", self.parameters)?;
        if let Some(image) = &self.image {
            writeln!(f, "images")?;
            image.fmt(f)?;
        }
        if let Some(text) = &self.text {
            writeln!(f, "texts")?;
            text.fmt(f)?;
        }
        self.unavailable.iter().try_for_each(|reason| line(f, "unavailable", reason))
    }
}

/// Writes a property.
fn line(f: &mut fmt::Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{name:<12} {value}")
}

/// Writes a property of a side.
fn side_line(f: &mut fmt::Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "  {name:<10} {value}")
}

/// Returns the description or the settings of a processor in one line.
fn processor_line(processor: &Processor) -> String {
    processor.to_string()
}
