//! The sentence embedding as a checkpoint defines it, in the files of sentence-transformers.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sail_core::{EncodeError, TextEncoder, TextFeatures, TextPooling, TokenBatch};
use serde_json::Value;

use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, format, read_json};

/// The pooling that a model folder defines: that of the pooling module in `modules.json`, in either generation of
/// its `config.json`.
///
/// Without `modules.json` it is the mean, save for a decoder (`architectures` ending in `ForCausalLM`), whose last
/// token it is: what sentence-transformers falls back to. A `Normalize` module is not applied: an alignment head
/// normalises its input itself, and features are kept as they are.
///
/// # Errors
/// [`ModelError::Format`] for a pooling other than class token, mean and last token, for several at once, and for
/// modules after the pooling that change the embedding, such as `Dense`.
pub(crate) fn default_pooling(folder: &Path) -> Result<TextPooling, ModelError> {
    let path = folder.join("modules.json");
    let Some(modules) = read_json(&path, MAX_JSON)? else { return fallback(folder) };
    let Some(modules) = modules.as_array() else { return Err(format(&path, "it is not a list of modules")) };
    let mut pooling = None;
    for module in modules {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or("without a type");
        match kind.rsplit('.').next() {
            Some("Transformer" | "Normalize") => {}
            Some("Pooling") if pooling.is_none() => {
                let place = module.get("path").and_then(Value::as_str).unwrap_or("");
                pooling = Some(read_pooling(&inside(folder, place, &path)?.join("config.json"))?);
            }
            _ => {
                let known = "Transformer, Pooling and Normalize";
                return Err(format(&path, format!("module `{kind}` is not among those known, {known}")));
            }
        }
    }
    pooling.map_or_else(|| fallback(folder), Ok)
}

fn fallback(folder: &Path) -> Result<TextPooling, ModelError> {
    let config = read_json(&folder.join("config.json"), MAX_JSON)?.unwrap_or_default();
    let architecture = config.get("architectures").and_then(|names| names.get(0)).and_then(Value::as_str);
    let causal = config.get("is_causal").and_then(Value::as_bool).unwrap_or(true);
    let decoder = architecture.is_some_and(|name| name.ends_with("ForCausalLM")) && causal;
    Ok(if decoder { TextPooling::Last } else { TextPooling::Mean })
}

/// A module's folder, which must lie in the model's.
fn inside(folder: &Path, place: &str, modules: &Path) -> Result<PathBuf, ModelError> {
    let plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(place).components().all(plain) {
        Ok(folder.join(place))
    } else {
        Err(format(modules, format!("the path `{place}` leads out of the folder")))
    }
}

/// The flags of the older generation and the names of the newer one.
const MODES: [(&str, &str, Option<TextPooling>); 6] = [
    ("pooling_mode_cls_token", "cls", Some(TextPooling::Class)),
    ("pooling_mode_max_tokens", "max", None),
    ("pooling_mode_mean_tokens", "mean", Some(TextPooling::Mean)),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", None),
    ("pooling_mode_weightedmean_tokens", "weightedmean", None),
    ("pooling_mode_lasttoken", "lasttoken", Some(TextPooling::Last)),
];

fn read_pooling(path: &Path) -> Result<TextPooling, ModelError> {
    let config = read_json(path, MAX_JSON)?
        .ok_or_else(|| format(path, "there is no such file, but modules.json names it"))?;
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
                format(path, format!("the pooling is `{mode}`, expected one of cls, mean, lasttoken"))
            })
        }
        several => {
            Err(format(path, format!("it joins the poolings {}, expected one alone", several.join(", "))))
        }
    }
}

/// An encoder whose `pooled` output is its sentence embedding.
struct Sentence {
    encoder: Arc<dyn TextEncoder>,
    pooling: TextPooling,
}

/// Completes an encoder that leaves `pooled` empty by the pooling that its checkpoint defines.
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
