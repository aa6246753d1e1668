//! Sentence embeddings, as defined by the files of sentence-transformers.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sail_core::{EncodeError, TextEncoder, TextFeatures, TextPooling, TokenBatch};
use serde_json::Value;

use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, format, read_json};

/// Returns the pooling of a model folder, defined by the pooling module in `modules.json`.
///
/// Without `modules.json`, it is the default of sentence-transformers: the last token for a decoder (`architectures` ending
/// in `ForCausalLM`), else the mean. A `Normalize` module is ignored, because heads normalize their input if they need to.
///
/// # Errors
/// Returns [`ModelError::Format`] if the pooling is not one of class token, mean and last token, or if another module, such
/// as `Dense`, changes the embedding.
pub(crate) fn default_pooling(folder: &Path) -> Result<TextPooling, ModelError> {
    let path = folder.join("modules.json");
    let Some(modules) = read_json(&path, MAX_JSON)? else { return fallback(folder) };
    let Some(modules) = modules.as_array() else { return Err(format(&path, "not a list of modules")) };
    let mut pooling = None;
    for module in modules {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or("unknown");
        match kind.rsplit('.').next() {
            Some("Transformer" | "Normalize") => {}
            Some("Pooling") if pooling.is_none() => {
                let subfolder = module.get("path").and_then(Value::as_str).unwrap_or("");
                pooling = Some(read_pooling(&inside(folder, subfolder, &path)?.join("config.json"))?);
            }
            _ => {
                let expected = "Transformer, Pooling or Normalize";
                return Err(format(&path, format!("unsupported module `{kind}`, expected {expected}")));
            }
        }
    }
    pooling.map_or_else(|| fallback(folder), Ok)
}

/// Returns the pooling of a folder without a pooling module.
fn fallback(folder: &Path) -> Result<TextPooling, ModelError> {
    let config = read_json(&folder.join("config.json"), MAX_JSON)?.unwrap_or_default();
    let architecture = config.get("architectures").and_then(|names| names.get(0)).and_then(Value::as_str);
    let causal = config.get("is_causal").and_then(Value::as_bool).unwrap_or(true);
    let decoder = architecture.is_some_and(|name| name.ends_with("ForCausalLM")) && causal;
    Ok(if decoder { TextPooling::Last } else { TextPooling::Mean })
}

/// Returns the folder of a module, which must be inside the folder of the model.
fn inside(folder: &Path, subfolder: &str, modules: &Path) -> Result<PathBuf, ModelError> {
    let plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(subfolder).components().all(plain) {
        Ok(folder.join(subfolder))
    } else {
        Err(format(modules, format!("the path `{subfolder}` is outside of the folder")))
    }
}

/// The boolean fields of older versions and the names of newer ones.
const MODES: [(&str, &str, Option<TextPooling>); 6] = [
    ("pooling_mode_cls_token", "cls", Some(TextPooling::Class)),
    ("pooling_mode_max_tokens", "max", None),
    ("pooling_mode_mean_tokens", "mean", Some(TextPooling::Mean)),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", None),
    ("pooling_mode_weightedmean_tokens", "weightedmean", None),
    ("pooling_mode_lasttoken", "lasttoken", Some(TextPooling::Last)),
];

fn read_pooling(path: &Path) -> Result<TextPooling, ModelError> {
    let config =
        read_json(path, MAX_JSON)?.ok_or_else(|| format(path, "missing, but named in modules.json"))?;
    let modes: Vec<String> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode.clone()],
        Some(Value::Array(modes)) => {
            modes.iter().map(|mode| mode.as_str().map_or_else(|| mode.to_string(), str::to_owned)).collect()
        }
        Some(other) => vec![other.to_string()],
        None => {
            let set = |flag: &str| config.get(flag).and_then(Value::as_bool).unwrap_or(false);
            MODES.iter().filter(|(flag, ..)| set(flag)).map(|(_, name, _)| (*name).to_owned()).collect()
        }
    };
    match modes.as_slice() {
        [] => Ok(TextPooling::Mean),
        [mode] => {
            let known = MODES.iter().find(|(_, name, _)| name == mode).and_then(|(.., pooling)| *pooling);
            known.ok_or_else(|| {
                format(path, format!("unsupported pooling `{mode}`, expected one of cls, mean, lasttoken"))
            })
        }
        several => {
            let reason = format!("several poolings, {}, expected a single one", several.join(", "));
            Err(format(path, reason))
        }
    }
}

/// An encoder with the sentence embedding as `pooled` output.
struct Sentence {
    encoder: Arc<dyn TextEncoder>,
    pooling: TextPooling,
}

/// Adds the sentence embedding as the `pooled` output of an encoder.
pub(crate) fn with_sentence_embedding(
    encoder: Arc<dyn TextEncoder>,
    pooling: TextPooling,
) -> Arc<dyn TextEncoder> {
    Arc::new(Sentence { encoder, pooling })
}

impl TextEncoder for Sentence {
    fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let mut features = self.encoder.encode_texts(tokens)?;
        if features.pooled.is_none() {
            features.pooled = self.pooling.pool(&features).ok();
        }
        Ok(features)
    }
}
