//! The most tokens that a model takes.

use std::path::Path;

use serde_json::Value;
use tokenizers::utils::truncation::TruncationParams;

use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, format, read_json};

/// Where no file names a limit, and more than any model's.
const MOST: usize = 1 << 17;

/// The names that sentence-transformers has given the settings of its transformer module; the first found counts.
const SENTENCE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The settings of sentence-transformers' transformer module, null where there are none.
pub(super) fn sentence_config(folder: &Path) -> Result<Value, ModelError> {
    for name in SENTENCE_CONFIGS {
        if let Some(config) = read_json(&folder.join(name), MAX_JSON)? {
            return Ok(config);
        }
    }
    Ok(Value::Null)
}

/// The most tokens of a text, special tokens included, as sentence-transformers finds it, but never more than the
/// model has positions.
pub(super) fn limit(
    folder: &Path,
    options: &Value,
    config: &Value,
    sentence: &Value,
    truncation: Option<&TruncationParams>,
) -> Result<usize, ModelError> {
    let own = count(folder, "sentence_bert_config.json", sentence, "max_seq_length")?;
    let tokenizer = match count(folder, "tokenizer_config.json", options, "model_max_length")? {
        None => count(folder, "tokenizer_config.json", options, "max_len")?,
        limit => limit,
    };
    let positions = count(folder, "config.json", config, "max_position_embeddings")?;
    // RoBERTa and its kin number the first token's position after the padding token's id.
    let offset = match config.get("model_type").and_then(Value::as_str) {
        Some("mpnet") => 2,
        Some("roberta" | "xlm-roberta" | "camembert") => {
            let padding = config.get("pad_token_id").and_then(Value::as_u64).unwrap_or(1);
            usize::try_from(padding).unwrap_or(usize::MAX).saturating_add(1)
        }
        _ => 0,
    };
    let reach = positions.map(|positions| positions.saturating_sub(offset));
    let named = own.or_else(|| tokenizer.into_iter().chain(positions).min());
    let limits = named.or(truncation.map(|truncation| truncation.max_length)).into_iter().chain(reach);
    Ok(limits.min().unwrap_or(MOST).min(MOST))
}

/// A number of tokens; huge ones, as transformers writes for "no limit", are none.
fn count(folder: &Path, file: &str, values: &Value, field: &str) -> Result<Option<usize>, ModelError> {
    let Some(value) = values.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_f64() {
        Some(number) if number >= MOST as f64 => Ok(Some(MOST).filter(|_| number == MOST as f64)),
        Some(number) if number >= 1.0 => Ok(Some(number as usize)),
        _ => Err(format(&folder.join(file), format!("`{field}` is {value}, expected a number of tokens"))),
    }
}
