//! Preprocessing from the files of a model.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::settings::Settings;
use super::{ImageProcessorConfig, defaults, open_clip, timm};
use crate::config::Fields;
use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, read_json};

/// Maximum size of a file of preprocessing; published ones have a few hundred bytes.
const MAX_BYTES: u64 = 1 << 20;

const PREPROCESSOR: &str = "preprocessor_config.json";
/// Of newer models with a tokenizer, for both.
const PROCESSOR: &str = "processor_config.json";
const OPEN_CLIP: &str = "open_clip_config.json";
const CONFIG: &str = "config.json";

/// Reads the preprocessing of a model folder and returns it with the path of the file.
pub(super) fn read(folder: &Path) -> Result<(ImageProcessorConfig, PathBuf), ModelError> {
    let path = folder.join(PREPROCESSOR);
    if let Some(settings) = read_json(&path, MAX_BYTES)? {
        return Ok((transformers(folder, &path, &settings)?, path));
    }
    let path = folder.join(PROCESSOR);
    if let Some(processor) = read_json(&path, MAX_BYTES)?
        && let Some(settings) = processor.get("image_processor")
    {
        return Ok((transformers(folder, &path, settings)?, path));
    }
    let path = folder.join(OPEN_CLIP);
    if let Some(config) = read_json(&path, MAX_JSON)? {
        return Ok((open_clip::read(&config)?, path));
    }
    let path = folder.join(CONFIG);
    if let Some(config) = read_json(&path, MAX_JSON)? {
        let settings = match timm::settings(&config) {
            Some(settings) => Some(timm::read(Fields(settings))?),
            None => defaults::read(&config)?,
        };
        if let Some(settings) = settings {
            return Ok((settings, path));
        }
    }
    Err(ModelError::Missing {
        folder: folder.display().to_string(),
        what: "image preprocessing",
        looked_for: [PREPROCESSOR, PROCESSOR, OPEN_CLIP, "`pretrained_cfg` in config.json"]
            .map(str::to_owned)
            .into(),
    })
}

fn transformers(folder: &Path, path: &Path, settings: &Value) -> Result<ImageProcessorConfig, ModelError> {
    if !settings.is_object() {
        return Err(ModelError::Format {
            path: path.to_owned(),
            reason: "no object with the settings of an image processor".into(),
        });
    }
    let settings = Settings::read(Fields(settings))?;
    settings.config(settings.class(folder)?)
}
