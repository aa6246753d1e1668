//! Loading of towers from model folders.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{Dtype, ImagePooling, TextPooling, TextTower, VisionTower};

use crate::preprocess::ImageProcessor;
use crate::pretrained::{ModelError, ModelFolder};
use crate::text::{self, PretrainedTokenizer, sentence};
use crate::vision;

/// Options of a vision model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisionOptions {
    /// The dtype of the computation.
    pub dtype: Dtype,
    /// The pooling. `None` is [`ImagePooling::Concat`], the default of SAIL, if the model has a class token, else
    /// [`ImagePooling::Pooled`].
    pub pooling: Option<ImagePooling>,
    /// Side of the square input images; `None` is that of the model.
    pub image_size: Option<usize>,
}

/// Options of a text model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// The dtype of the computation.
    pub dtype: Dtype,
    /// The pooling. `None` is the pooling of the model's sentence embedding, as defined by `1_Pooling/config.json`, else the
    /// mean. Embeddings are not normalized, even if the model has a `Normalize` module.
    pub pooling: Option<TextPooling>,
}

/// Loads a vision backbone with its preprocessing.
///
/// # Errors
/// Returns [`ModelError`] if the model is not a supported vision model, a configuration file is missing or invalid, or the
/// weights do not match the configuration.
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
    reject(folder, text::supports, "a vision model: this is a text model")?;
    let mut preprocessor = ImageProcessor::open(folder.path())?;
    if let Some(size) = options.image_size {
        preprocessor = preprocessor.with_size(size).map_err(|error| ModelError::Config {
            field: "image_size",
            found: size.to_string(),
            expected: error.to_string(),
        })?;
    }
    let encoder = vision::load(folder.config(), &folder.weights()?, options.dtype, device)?;
    Ok(VisionTower {
        encoder,
        preprocessor: Arc::new(preprocessor),
        pooling: options.pooling.unwrap_or(vision::default_pooling(folder.model_type()?)),
        model: folder.provenance()?,
        device: device.clone(),
    })
}

/// Loads a text backbone with its tokenizer.
///
/// Prompts that a model expects before a text (`query: ` for E5) are not added, even if
/// `config_sentence_transformers.json` defines them: make them part of the text.
///
/// # Errors
/// Returns [`ModelError`] if the model is not a supported text model, the tokenizer or a configuration file is missing or
/// invalid, or the weights do not match the configuration.
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
    reject(folder, vision::supports, "a text model: this is a vision model")?;
    let tokenizer = PretrainedTokenizer::open(folder.path())?;
    let default_pooling = sentence::default_pooling(folder.path())?;
    let encoder = text::load(folder.config(), &folder.weights()?, options.dtype, device)?;
    Ok(TextTower {
        encoder: sentence::with_sentence_embedding(encoder, default_pooling),
        tokenizer: Arc::new(tokenizer),
        pooling: options.pooling.unwrap_or(default_pooling),
        model: folder.provenance()?,
        device: device.clone(),
    })
}

/// Rejects a model of the other modality with a specific error.
fn reject(folder: &ModelFolder, is_other: fn(&str) -> bool, expected: &str) -> Result<(), ModelError> {
    let model_type = folder.model_type()?;
    if !is_other(model_type) {
        return Ok(());
    }
    Err(ModelError::Config {
        field: "model_type",
        found: format!("`{model_type}`"),
        expected: expected.to_owned(),
    })
}
