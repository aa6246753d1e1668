//! From a model's folder to a tower: raw input in, rows out.

use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use sail_core::{ImagePooling, TextPooling, TextTower, VisionTower};

use super::{ModelError, ModelFolder};
use crate::preprocess::ImageProcessor;
use crate::text::{self, PretrainedTokenizer, sentence};
use crate::vision;

/// How a vision model is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisionOptions {
    /// The floats the backbone computes in.
    pub precision: FloatDType,
    /// From token states to one row. `None` is class token and patch mean, concatenated, where the model has both
    /// (the method's default); else the model's own pooled output; else the patch mean.
    pub pooling: Option<ImagePooling>,
    /// Side of the square images, where not the model's own.
    pub image_size: Option<usize>,
}

impl Default for VisionOptions {
    /// All as the model defines it, in 32-bit floats.
    fn default() -> Self {
        Self { precision: FloatDType::F32, pooling: None, image_size: None }
    }
}

/// How a text model is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOptions {
    /// The floats the backbone computes in.
    pub precision: FloatDType,
    /// From token states to one row. `None` is the pooling of the model's own sentence embedding: what
    /// `1_Pooling/config.json` says, the mean where nothing is said. Rows are not normalised, even where the model
    /// has a `Normalize` module.
    pub pooling: Option<TextPooling>,
}

impl Default for TextOptions {
    /// All as the model defines it, in 32-bit floats.
    fn default() -> Self {
        Self { precision: FloatDType::F32, pooling: None }
    }
}

/// Builds a vision backbone with its preprocessing, on a device.
///
/// # Errors
/// [`ModelError`] for a family that is not known or a text model, configuration files that are missing or do not say
/// what they must, and weights that do not fit.
///
/// # Examples
/// ```no_run
/// use burn::tensor::Device;
/// use sail_encoders::{ModelFolder, VisionOptions, load_vision};
///
/// let folder = ModelFolder::open("models/dinov2-small")?;
/// let tower = load_vision(&folder, &VisionOptions::default(), &Device::default())?;
/// println!("{}", tower.provenance());
/// # Ok::<(), sail_encoders::ModelError>(())
/// ```
pub fn load_vision(
    folder: &ModelFolder,
    options: &VisionOptions,
    device: &Device,
) -> Result<VisionTower, ModelError> {
    refuse(folder, text::knows, "a vision model, and this is one for texts")?;
    let mut preprocessor = ImageProcessor::open(folder.path())?;
    if let Some(size) = options.image_size {
        preprocessor = preprocessor.with_size(size).map_err(|error| ModelError::Config {
            field: "image_size",
            found: size.to_string(),
            expected: error.to_string(),
        })?;
    }
    let encoder = vision::load(folder.config(), &folder.weights()?, options.precision, device)?;
    Ok(VisionTower {
        encoder,
        preprocessor: Arc::new(preprocessor),
        pooling: options.pooling.unwrap_or(vision::default_pooling(folder.model_type()?)),
        model: folder.provenance()?,
        device: device.clone(),
    })
}

/// Builds a text backbone with its tokenizer, on a device.
///
/// Prompts that a model wants before a text (`query: ` for E5) are part of the text: put them there. Those named in
/// `config_sentence_transformers.json` are not applied.
///
/// # Errors
/// [`ModelError`] for a family that is not known or a vision model, a folder without a tokenizer, configuration files
/// that do not say what they must, and weights that do not fit.
///
/// # Examples
/// ```no_run
/// use burn::tensor::Device;
/// use sail_encoders::{ModelFolder, TextOptions, load_text};
///
/// let folder = ModelFolder::open("models/all-MiniLM-L6-v2")?;
/// let tower = load_text(&folder, &TextOptions::default(), &Device::default())?;
/// println!("{}", tower.provenance());
/// # Ok::<(), sail_encoders::ModelError>(())
/// ```
pub fn load_text(
    folder: &ModelFolder,
    options: &TextOptions,
    device: &Device,
) -> Result<TextTower, ModelError> {
    refuse(folder, vision::knows, "a text model, and this is one for images")?;
    let tokenizer = PretrainedTokenizer::open(folder.path())?;
    let own = sentence::default_pooling(folder.path())?;
    let encoder = text::load(folder.config(), &folder.weights()?, options.precision, device)?;
    Ok(TextTower {
        encoder: sentence::with_sentence_embedding(encoder, own),
        tokenizer: Arc::new(tokenizer),
        pooling: options.pooling.unwrap_or(own),
        model: folder.provenance()?,
        device: device.clone(),
    })
}

/// Refuses a model of the other side, which the side's own families would only call unknown.
fn refuse(folder: &ModelFolder, is_other: fn(&str) -> bool, expected: &str) -> Result<(), ModelError> {
    let family = folder.model_type()?;
    if !is_other(family) {
        return Ok(());
    }
    Err(ModelError::Config {
        field: "model_type",
        found: format!("`{family}`"),
        expected: expected.to_owned(),
    })
}
