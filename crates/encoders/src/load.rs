//! Loading of towers from model folders.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{Dtype, ImagePooling, InputError, Prompt, Provenance, TextPooling, TextTower, VisionTower};

use crate::preprocess::{ImageProcessor, ImageProcessorConfig};
use crate::pretrained::{ModelError, ModelFolder};
use crate::text::sentence::{Prompts, Sentence, SentenceEncoder};
use crate::text::{self, PretrainedTokenizer, PromptChoice};
use crate::vision;

/// Options of a vision model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VisionOptions {
    /// The dtype of the computation.
    pub dtype: Dtype,
    /// The pooling. `None` is [`ImagePooling::Concat`], the default of SAIL, if the model has a class token, else
    /// [`ImagePooling::Pooled`].
    pub pooling: Option<ImagePooling>,
    /// The preprocessing; `None` is that of the model.
    pub processor: Option<ImageProcessorConfig>,
    /// Side of the square input images; `None` is that of the preprocessing.
    pub image_size: Option<usize>,
}

/// Options of a text model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// The dtype of the computation.
    pub dtype: Dtype,
    /// The pooling. `None` is the pooling of the model's sentence embedding, as defined by the pooling module in
    /// `modules.json`, else the mean. The modules after the pooling are applied to any pooling.
    pub pooling: Option<TextPooling>,
    /// The prompt before every text.
    pub prompt: PromptChoice,
    /// Whether to skip the modules after the pooling (`Dense`, `LayerNorm`, `Normalize`), as version 0.1 did.
    pub skip_modules: bool,
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
    let mut preprocessor = match options.processor {
        Some(config) => ImageProcessor::new(config)?,
        None => ImageProcessor::open(folder.backbone())?,
    };
    if let Some(size) = options.image_size {
        preprocessor = preprocessor.with_size(size)?;
    }
    let encoder = vision::load(folder.config(), &folder.weights()?, options.dtype, device)?;
    Ok(VisionTower {
        encoder,
        preprocessor: Arc::new(preprocessor),
        pooling: options.pooling.unwrap_or(vision::default_pooling(folder.model_type()?)),
        model: Provenance { precision: Some(options.dtype), ..folder.provenance()? },
        device: device.clone(),
    })
}

/// Loads a text backbone with its tokenizer.
///
/// The embeddings are those of sentence-transformers' `encode`: the default prompt of the model is put before every text, and
/// all modules of `modules.json` are applied. A model without that file is pooled to the mean of its token states.
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
    let prompt = Prompts::read(folder)?.choose(&options.prompt)?;
    let tokenizer = PretrainedTokenizer::open(folder.backbone())?.with_prompt(prompt.clone());
    let (encoder, width) = text::load(folder.config(), &folder.weights()?, options.dtype, device)?;
    let mut sentence = Sentence::read(folder, options.pooling, options.skip_modules, width, device)?;
    if !sentence.pools_prompt {
        sentence.skipped = tokenizer.prompt_tokens().map_err(|InputError(reason)| ModelError::Config {
            field: "prompt",
            found: format!("{prompt:?}"),
            expected: format!("a text that can be tokenized: {reason}"),
        })?;
    }
    let pooled = sentence.skipped == 0;
    let model = Provenance {
        pooling: Some(sentence.pooling_name()),
        modules: sentence.described(),
        prompt: (!prompt.is_empty()).then_some(Prompt { text: prompt, pooled }),
        precision: Some(options.dtype),
        ..folder.provenance()?
    };
    Ok(TextTower {
        pooling: sentence.pooling(),
        encoder: Arc::new(SentenceEncoder { encoder, sentence }),
        tokenizer: Arc::new(tokenizer),
        model,
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
