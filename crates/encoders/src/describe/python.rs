//! The same rows in Python.

use sail_core::{ImagePooling, Modality};
use serde_json::Value;

use crate::check;
use crate::convolutional::ConvolutionalSpec;
use crate::families::{self, Source, VisionSide};
use crate::preprocess::{Arithmetic, ImageProcessor};
use crate::pretrained::{ModelError, ModelFolder};
use crate::spec::{NormScope, TextHead, VisionHead, VisionSpec};

/// Returns a Python program that prints the row of a side of a model for the input of [`check`] as JSON, or `None` if no
/// library reads such files.
///
/// `model` is what Python loads: an id on the hub, or a folder. The program uses transformers 5, timm or OpenCLIP for images,
/// and sentence-transformers or transformers for texts.
///
/// # Errors
/// Returns [`ModelError`] as [`describe`](super::describe).
pub fn reference_code(
    folder: &ModelFolder,
    side: Modality,
    model: &str,
) -> Result<Option<String>, ModelError> {
    let checkpoint = folder.checkpoint()?;
    let source = Source { config: folder.config(), checkpoint: &checkpoint };
    let Some(library) = Library::of(&source) else { return Ok(None) };
    let lines = match side {
        Modality::Image => Some(image(folder, &source, library, model)?),
        Modality::Text => text(&source, library, model)?,
    };
    Ok(lines.map(|lines| lines.join("\n") + "\n"))
}

/// The library that reads the files of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    Transformers,
    Timm,
    OpenClip,
}

impl Library {
    fn of(source: &Source<'_>) -> Option<Self> {
        let is_original = || source.checkpoint.names().any(|name| name.ends_with("patch_embed.proj.weight"));
        match source.config.get("model_type").and_then(Value::as_str) {
            None | Some("timm" | "timm_wrapper") => Some(Self::Timm),
            Some("open_clip") => Some(Self::OpenClip),
            Some("efficientnet_lite" | "perception_encoder") => None,
            Some(name) if name.starts_with("tipsv2") => Some(Self::Transformers),
            Some(_) if is_original() => None,
            Some(_) => Some(Self::Transformers),
        }
    }

    /// The name of a model in Python, as a string literal.
    fn name(self, model: &str) -> String {
        let is_folder = std::path::Path::new(model).is_dir();
        let model = match (self, is_folder) {
            (Self::Transformers, _) => model.to_owned(),
            (Self::Timm | Self::OpenClip, true) => format!("local-dir:{model}"),
            (Self::Timm | Self::OpenClip, false) => format!("hf-hub:{model}"),
        };
        Value::from(model).to_string()
    }
}

fn image(
    folder: &ModelFolder,
    source: &Source<'_>,
    library: Library,
    model: &str,
) -> Result<Vec<String>, ModelError> {
    let row = match families::vision(folder.config())? {
        VisionSide::Transformer(plan) => Row::of_transformer(&plan(source)?.spec),
        VisionSide::Convolutional(plan) => Row::of_convolutional(&plan(source)?.spec),
    };
    let name = library.name(model);
    let mut lines = vec![
        "import numpy as np, torch".to_owned(),
        "from PIL import Image".to_owned(),
        "y, x = np.mgrid[:192, :256]".to_owned(),
        "image = Image.fromarray(np.stack([x, y * 4 // 3, x * y % 256], -1).astype(np.uint8))".to_owned(),
    ];
    let is_whole = source.config.get("vision_config").is_some();
    match library {
        Library::Transformers => {
            // That of DINOv3 exists for torchvision only.
            let floats = ImageProcessor::open(folder.backbone())?.config().arithmetic == Arithmetic::Floats;
            let backend = if floats { "" } else { ", backend=\"pil\"" };
            let masked = source.config.get("model_type").is_some_and(|name| name == "vit_mae");
            let options = if masked { ", mask_ratio=0.0" } else { "" };
            let call = match (is_whole, row) {
                (true, Row::Projected) => "model.get_image_features",
                (true, _) => "model.vision_model",
                (false, _) => "model",
            };
            lines.extend([
                "from transformers import AutoImageProcessor, AutoModel".to_owned(),
                format!("processor = AutoImageProcessor.from_pretrained({name}{backend})"),
                format!("model = AutoModel.from_pretrained({name}, dtype=\"float32\"{options}).eval()"),
                "with torch.no_grad():".to_owned(),
                format!("    output = {call}(**processor(image, return_tensors=\"pt\"))"),
                format!(
                    "row = {}",
                    row.expression("output.last_hidden_state", "output.pooler_output.flatten(1)")
                ),
            ]);
        }
        Library::Timm => lines.extend([
            "import timm".to_owned(),
            format!("model = timm.create_model({name}, pretrained=True).eval()"),
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))".to_owned(),
            "with torch.no_grad():".to_owned(),
            "    states = model.forward_features(transform(image)[None])".to_owned(),
            format!("    row = {}", row.expression("states", "model.forward_head(states, pre_logits=True)")),
        ]),
        Library::OpenClip => {
            lines.extend([
                "import open_clip".to_owned(),
                format!("model, transform = open_clip.create_model_from_pretrained({name})"),
            ]);
            // The class token before its projection.
            if matches!(row, Row::NormedClass | Row::Tokens { class: Some(_), patches: None }) {
                lines.push("model.visual.proj = None".to_owned());
            }
            lines.extend([
                "with torch.no_grad():".to_owned(),
                "    row = model.encode_image(transform(image)[None])".to_owned(),
            ]);
        }
    }
    lines.push("print(row[0].tolist())".to_owned());
    Ok(lines)
}

/// How an embedding is made of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// Of the token states: the mean of this many class tokens, and that of the patches after a number of registers.
    Tokens { class: Option<usize>, patches: Option<usize> },
    /// The class token that alone has a norm.
    NormedClass,
    /// The pooled output.
    Pooled,
    /// The pooled output after a projection.
    Projected,
}

impl Row {
    fn of_transformer(spec: &VisionSpec) -> Self {
        let (classes, prefix) = (spec.class_tokens, spec.class_tokens + spec.registers);
        match spec.default_pooling() {
            ImagePooling::Class if spec.norm_scope == NormScope::ClassToken => Self::NormedClass,
            ImagePooling::Class => Self::Tokens { class: Some(classes), patches: None },
            ImagePooling::Concat => Self::Tokens { class: Some(classes), patches: Some(prefix) },
            ImagePooling::PatchMean => Self::Tokens { class: None, patches: Some(prefix) },
            // No model has tokens by default.
            ImagePooling::Pooled | ImagePooling::Tokens => match (&spec.head, spec.projection) {
                (_, Some(_)) => Self::Projected,
                (Some(VisionHead::PatchMean), None) if spec.norm_scope == NormScope::All => {
                    Self::Tokens { class: None, patches: Some(prefix) }
                }
                _ => Self::Pooled,
            },
        }
    }

    fn of_convolutional(spec: &ConvolutionalSpec) -> Self {
        match spec.default_pooling() {
            ImagePooling::Concat => Self::Tokens { class: Some(1), patches: Some(1) },
            _ => Self::Pooled,
        }
    }

    fn expression(self, states: &str, pooled: &str) -> String {
        let class = |count: usize| match count {
            1 => format!("{states}[:, 0]"),
            _ => format!("{states}[:, :{count}].mean(1)"),
        };
        let patches = |prefix: usize| format!("{states}[:, {prefix}:].mean(1)");
        match self {
            Self::Tokens { class: Some(count), patches: Some(prefix) } => {
                format!("torch.cat([{}, {}], 1)", class(count), patches(prefix))
            }
            Self::Tokens { class: Some(count), patches: None } => class(count),
            Self::Tokens { class: None, patches: prefix } => patches(prefix.unwrap_or(0)),
            Self::NormedClass | Self::Pooled | Self::Projected => pooled.to_owned(),
        }
    }
}

fn text(source: &Source<'_>, library: Library, model: &str) -> Result<Option<Vec<String>>, ModelError> {
    let spec = families::text(source)?.spec;
    let name = library.name(model);
    let text = Value::from(check::TEXT).to_string();
    let remote = if source.config.get("auto_map").is_some() { ", trust_remote_code=True" } else { "" };
    let is_whole = source.config.get("text_config").is_some();
    let is_tower = families::find(source.config).is_some_and(|family| family.vision.is_some());
    Ok(match (library, &spec.head) {
        (Library::Timm, _) => None,
        (Library::OpenClip, _) => Some(vec![
            "import open_clip, torch".to_owned(),
            format!("model, _ = open_clip.create_model_from_pretrained({name})"),
            format!("tokens = open_clip.get_tokenizer({name})([{text}])"),
            "with torch.no_grad():".to_owned(),
            "    row = model.encode_text(tokens)".to_owned(),
            "print(row[0].tolist())".to_owned(),
        ]),
        // A tower alone is another class if it has a projection.
        (Library::Transformers, Some(TextHead::Token { projection: Some(_), bias: false, .. }))
            if !is_whole =>
        {
            None
        }
        (Library::Transformers, _) if is_tower => {
            let call = if is_whole { "model.get_text_features" } else { "model" };
            let lower = if spec.lower_case { ".lower()" } else { "" };
            let padding = match spec.padded {
                true => format!(", padding=\"max_length\", max_length={}", spec.max_length),
                false => String::new(),
            };
            Some(vec![
                "import torch".to_owned(),
                "from transformers import AutoModel, AutoTokenizer".to_owned(),
                format!("tokenizer = AutoTokenizer.from_pretrained({name})"),
                format!(
                    "tokens = tokenizer([{text}{lower}], truncation=True{padding}, return_tensors=\"pt\")[\"input_ids\"]"
                ),
                format!("model = AutoModel.from_pretrained({name}, dtype=\"float32\").eval()"),
                "with torch.no_grad():".to_owned(),
                format!("    output = {call}(input_ids=tokens)"),
                "print(output.pooler_output[0].tolist())".to_owned(),
            ])
        }
        (Library::Transformers, _) => Some(vec![
            "from sentence_transformers import SentenceTransformer".to_owned(),
            format!(
                "model = SentenceTransformer({name}, device=\"cpu\", model_kwargs={{\"dtype\": \"float32\"}}{remote})"
            ),
            format!("print(model.encode([{text}])[0].tolist())"),
        ]),
    })
}
