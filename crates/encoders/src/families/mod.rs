//! The families of published backbones.
//!
//! All that is known of a family is in one file: the values of `model_type`, the sides it has, the specification for a
//! configuration, and the map from the names of its tensors. To add one, write such a file and add it to [`FAMILIES`].

mod aimv2;
mod architecture;
mod bert;
mod clip;
mod convnext;
mod decoder;
mod dinov2;
mod dinov3;
mod dinov3_convnext;
mod distilbert;
mod efficientnet;
mod gemma;
mod gte;
mod ijepa;
mod jina;
mod layer_types;
mod llama;
mod mae;
mod mistral;
mod modern_bert;
mod mpnet;
mod nomic_bert;
mod nv_embed;
mod open_clip;
mod original;
mod perception_encoder;
mod pixio;
mod qwen;
mod resnet;
mod rotary;
mod siglip;
mod sizes;
mod stages;
mod t5;
mod timm;
mod tipsv2;
mod vit;

use serde_json::Value;

use crate::config::Fields;
use crate::convolutional::ConvolutionalSpec;
use crate::pretrained::{Checkpoint, ModelError, WeightMap};
use crate::spec::{TextSpec, VisionSpec};

/// A family of backbones.
pub(crate) struct Family {
    /// The name in documentation, such as `DINOv2`.
    pub(crate) name: &'static str,
    /// The values of `model_type` in `config.json`.
    pub(crate) model_types: &'static [&'static str],
    /// Ids on the hub of checkpoints that it was written for.
    pub(crate) checkpoints: &'static [&'static str],
    /// The vision side, if it has one.
    pub(crate) vision: Option<VisionSide>,
    /// The text side, if it has one.
    pub(crate) text: Option<Read<TextSpec>>,
}

/// Reads the specification of a model and the names of its tensors.
pub(crate) type Read<S> = fn(&Source<'_>) -> Result<Plan<S>, ModelError>;

/// How the vision side of a family is built.
#[derive(Clone, Copy)]
pub(crate) enum VisionSide {
    /// A vision transformer.
    Transformer(Read<VisionSpec>),
    /// A convolutional backbone.
    Convolutional(Read<ConvolutionalSpec>),
}

/// What a family reads: the configuration, and names and shapes of the tensors.
pub(crate) struct Source<'a> {
    /// `config.json`
    pub(crate) config: &'a Value,
    pub(crate) checkpoint: &'a Checkpoint,
}

impl<'a> Source<'a> {
    /// Returns the architecture that a configuration of timm names, instead of the sizes.
    fn architecture(&self) -> Option<&'a str> {
        self.config.get("architecture")?.as_str()
    }
}

/// A specification with the map from the names in the checkpoint to those in the trunk.
#[derive(Debug)]
pub(crate) struct Plan<S> {
    pub(crate) spec: S,
    pub(crate) map: WeightMap,
}

/// All families, in the order of the documentation.
pub(crate) static FAMILIES: &[&Family] = &[
    &vit::VIT,
    &dinov2::DINOV2,
    &dinov3::DINOV3,
    &mae::MAE,
    &pixio::PIXIO,
    &ijepa::IJEPA,
    &aimv2::AIMV2,
    &clip::CLIP,
    &siglip::SIGLIP,
    &tipsv2::TIPSV2,
    &open_clip::OPEN_CLIP,
    &perception_encoder::PERCEPTION_ENCODER,
    &timm::TIMM,
    &convnext::CONVNEXT,
    &dinov3_convnext::DINOV3_CONVNEXT,
    &resnet::RESNET,
    &efficientnet::EFFICIENTNET_LITE,
    &bert::BERT,
    &bert::ROBERTA,
    &mpnet::MPNET,
    &distilbert::DISTILBERT,
    &gte::GTE,
    &modern_bert::MODERN_BERT,
    &nomic_bert::NOMIC_BERT,
    &jina::JINA,
    &t5::T5,
    &qwen::QWEN2,
    &qwen::QWEN3,
    &mistral::MISTRAL,
    &llama::LLAMA,
    &gemma::GEMMA,
    &nv_embed::NV_EMBED,
];

/// Families by the start of the `architecture` in a configuration of timm, which has no `model_type` of its own.
static TIMM: &[(&str, &Family)] = &[
    ("convnext", &convnext::CONVNEXT),
    ("resnet", &resnet::RESNET),
    ("vit_", &timm::TIMM),
    ("deit", &timm::TIMM),
    ("eva", &timm::TIMM),
    ("beit3_", &timm::TIMM),
];

/// Finds the family of a configuration.
pub(crate) fn find(config: &Value) -> Option<&'static Family> {
    let text = |field| config.get(field).and_then(Value::as_str);
    match (text("model_type"), text("architecture")) {
        (None | Some("timm" | "timm_wrapper"), Some(name)) => {
            TIMM.iter().find(|(start, _)| name.starts_with(start)).map(|(_, family)| *family)
        }
        (Some(name), _) => FAMILIES.iter().copied().find(|family| family.model_types.contains(&name)),
        // `open_clip_config.json`
        (None, None) => config.get("model_cfg").map(|_| &open_clip::OPEN_CLIP),
    }
}

/// Reads the text side of a model.
///
/// # Errors
/// Returns [`ModelError::Config`] if no family has this `model_type`, if the family has no text side, and for invalid fields.
pub(crate) fn text(source: &Source<'_>) -> Result<Plan<TextSpec>, ModelError> {
    side(source.config, ("text", "TextEncoder"), |family| family.text)?(source)
}

/// Returns the vision side of a model.
///
/// # Errors
/// Returns [`ModelError::Config`] if no family has this `model_type`, or the family has no vision side.
pub(crate) fn vision(config: &Value) -> Result<VisionSide, ModelError> {
    side(config, ("vision", "ImageEncoder"), |family| family.vision)
}

/// Returns the error for a model of none of the families that are expected; a backbone of one's own implements `encoder`.
pub(crate) fn unknown(config: &Value, encoder: &str, expected: impl Fn(&Family) -> bool) -> ModelError {
    let own = format!("a backbone of your own implements `{encoder}`");
    let is_timm = matches!(config["model_type"].as_str(), None | Some("timm" | "timm_wrapper"));
    if is_timm && config["architecture"].is_string() {
        let starts: Vec<&str> = TIMM.iter().map(|(start, _)| *start).collect();
        let expected = format!("a name that starts with {}; {own}", starts.join(", "));
        return Fields(config).error("architecture", expected);
    }
    let known = FAMILIES.iter().filter(|family| expected(family));
    let known: Vec<&str> = known.flat_map(|family| family.model_types).copied().collect();
    Fields(config).error("model_type", format!("one of {}; {own}", known.join(", ")))
}

/// Returns a side, given its name and that of its trait, of the family of a model.
fn side<T>(
    config: &Value,
    (name, encoder): (&str, &str),
    side: fn(&Family) -> Option<T>,
) -> Result<T, ModelError> {
    let Some(family) = find(config) else {
        return Err(unknown(config, encoder, |family| side(family).is_some()));
    };
    let other = if name == "text" { "vision" } else { "text" };
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let is_other = model_type.ends_with(&format!("{other}_model"));
    side(family).filter(|_| !is_other).ok_or_else(|| {
        let expected = match is_other {
            true => format!("a {name} model: this is the {other} side of {} alone", family.name),
            false => format!("a {name} model: {} has no {name} side", family.name),
        };
        Fields(config).error("model_type", expected)
    })
}

#[cfg(test)]
mod published_tests;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the text side of a published configuration with some fields changed.
    pub(super) fn text_spec(config: &str, changes: &[(&str, Value)]) -> Result<TextSpec, String> {
        let mut config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
        for (field, value) in changes {
            config[field] = value.clone();
        }
        let checkpoint = Checkpoint::default();
        let plan = text(&Source { config: &config, checkpoint: &checkpoint });
        plan.map(|plan| plan.spec).map_err(|error| error.to_string())
    }

    #[test]
    fn errors_list_the_families_and_the_way_to_another() {
        let error = |config: Value| vision(&config).map(drop).unwrap_err().to_string();
        let unknown = error(serde_json::json!({"model_type": "swin"}));
        assert!(
            unknown.starts_with("`model_type` of the model is \"swin\", expected one of vit, "),
            "{unknown}"
        );
        assert!(unknown.ends_with("; a backbone of your own implements `ImageEncoder`"), "{unknown}");
        assert!(!unknown.contains("roberta"), "text models are listed for text only: {unknown}");
        let text = error(serde_json::json!({"model_type": "bert"}));
        assert!(text.ends_with("expected a vision model: BERT has no vision side"), "{text}");
        let timm = error(serde_json::json!({"model_type": "timm", "architecture": "swin_tiny"}));
        assert!(
            timm.starts_with("`architecture` of the model is \"swin_tiny\", expected a name that starts"),
            "{timm}"
        );
        for model_type in [serde_json::json!("timm"), serde_json::json!("timm_wrapper"), Value::Null] {
            let config = serde_json::json!({"model_type": model_type, "architecture": "resnet50"});
            assert_eq!(find(&config).map(|family| family.name), Some(resnet::RESNET.name));
        }
    }

    #[test]
    fn model_types_are_unique() {
        let mut names: Vec<&str> = FAMILIES.iter().flat_map(|family| family.model_types).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
