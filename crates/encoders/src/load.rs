//! Loading of towers from model folders.

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{ConfigError, Dtype, ImagePooling, InputError, Prompt, Provenance, TextTower, VisionTower};

use crate::families::{self, Source};
use crate::image_encoder;
use crate::options::{TextOptions, VisionOptions};
use crate::preprocess::ImageProcessor;
use crate::pretrained::{ModelError, ModelFolder};
use crate::text::PretrainedTokenizer;
use crate::text::sentence::{Prompts, Sentence, SentenceEncoder};
use crate::trunk::Placement;
use crate::trunk::text::TextTrunk;

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
    // Before a missing file for images is reported of a text model.
    families::vision(folder.config())?;
    let mut preprocessor = match options.processor {
        Some(config) => ImageProcessor::new(config)?,
        None => ImageProcessor::open(folder.backbone())?,
    };
    if let Some(size) = options.image_size {
        preprocessor = preprocessor.with_size(size)?;
    }
    let VisionOptions { dtype, memory, quantization, .. } = *options;
    let adapter = options.adapter.clone();
    let merged = adapter.as_ref().map(|adapter| adapter.sha256.clone());
    let placement = Placement { memory, quantization, adapter, ..Placement::new(dtype.into(), device) };
    let (encoder, pooling) = image_encoder::load(folder.config(), &folder.checkpoint()?, &placement)?;
    let tower = VisionTower {
        encoder,
        preprocessor: Arc::new(preprocessor),
        pooling: options.pooling.unwrap_or(pooling),
        model: Provenance { precision: Some(dtype), quantization, adapter: merged, ..folder.provenance()? },
        device: device.clone(),
    };
    if tower.pooling != ImagePooling::Tokens {
        return Ok(tower);
    }
    tower.with_tokens().map_err(|error| {
        let expected = format!("another pooling: {error}");
        ModelError::Option(ConfigError { field: "pooling".to_owned(), found: "tokens".to_owned(), expected })
    })
}

/// Loads a text backbone with its tokenizer.
///
/// The embeddings are those of sentence-transformers' `encode`: the default prompt of the model is put before every text, and
/// all modules of `modules.json` are applied. A model without that file has its own pooled output (CLIP, SigLIP), or is pooled
/// to the mean of its token states.
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
    let checkpoint = folder.checkpoint()?;
    let plan = families::text(&Source { config: folder.config(), checkpoint: &checkpoint })?;
    if plan.spec.exceeds_f16 && options.dtype == Dtype::F16 {
        return Err(ModelError::Config {
            field: "dtype",
            found: "f16".to_owned(),
            expected: "f32 or bf16: the states of this model exceed the range of f16".to_owned(),
        });
    }
    let prompt = Prompts::read(folder)?.choose(&options.prompt)?;
    let tokenizer = PretrainedTokenizer::of_model(folder.backbone(), Some(&plan.spec))?;
    let tokenizer = tokenizer.with_prompt(prompt.clone());
    let mut sentence = Sentence::read(folder, options, &plan.spec, device)?;
    let TextOptions { dtype, memory, quantization, .. } = *options;
    let adapter = options.adapter.clone();
    let merged = adapter.as_ref().map(|adapter| adapter.sha256.clone());
    let placement = Placement { memory, quantization, adapter, ..Placement::new(dtype.into(), device) };
    let encoder = Arc::new(TextTrunk::load(plan, &checkpoint, &placement)?);
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
        precision: Some(dtype),
        quantization,
        adapter: merged,
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
