//! Maximum length of a text.

use std::path::Path;

use serde_json::Value;
use tokenizers::utils::truncation::TruncationParams;

use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, format, read_json};
use crate::spec::MAX_TOKENS;

/// File names of the configuration of sentence-transformers' transformer module, in order of precedence.
pub(crate) const SENTENCE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Reads the configuration of sentence-transformers' transformer module, null if there is none.
pub(super) fn sentence_config(folder: &Path) -> Result<Value, ModelError> {
    for name in SENTENCE_CONFIGS {
        if let Some(config) = read_json(&folder.join(name), MAX_JSON)? {
            return Ok(config);
        }
    }
    Ok(Value::Null)
}

/// Returns the maximum number of tokens of a text, including special tokens, as in sentence-transformers, but at most
/// `longest`, if the model is known.
pub(super) fn limit(
    folder: &Path,
    options: &Value,
    config: &Value,
    sentence: &Value,
    truncation: Option<&TruncationParams>,
    longest: Option<usize>,
) -> Result<usize, ModelError> {
    let own = own_limit(folder, sentence)?;
    let tokenizer = match count(folder, "tokenizer_config.json", options, "model_max_length")? {
        None => count(folder, "tokenizer_config.json", options, "max_len")?,
        limit => limit,
    };
    let positions = count(folder, "config.json", config, "max_position_embeddings")?;
    let configured = own.or_else(|| tokenizer.into_iter().chain(positions).min());
    let limits = configured.or(truncation.map(|truncation| truncation.max_length)).into_iter();
    Ok(limits.chain(positions).chain(longest).min().unwrap_or(MAX_TOKENS).min(MAX_TOKENS))
}

/// Returns the limit of sentence-transformers: an argument of the tokenizer, under its new or old name, else its own.
fn own_limit(folder: &Path, sentence: &Value) -> Result<Option<usize>, ModelError> {
    const FILE: &str = "sentence_bert_config.json";
    let arguments = ["processor_kwargs", "tokenizer_args"].iter().filter_map(|name| sentence.get(name));
    for arguments in arguments {
        if let Some(limit) = count(folder, FILE, arguments, "model_max_length")? {
            return Ok(Some(limit));
        }
    }
    count(folder, FILE, sentence, "max_seq_length")
}

/// Returns a number of tokens; `None` for huge ones, with which transformers represents "no limit".
fn count(folder: &Path, file: &str, values: &Value, field: &str) -> Result<Option<usize>, ModelError> {
    let Some(value) = values.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_f64() {
        Some(number) if number >= MAX_TOKENS as f64 => {
            Ok(Some(MAX_TOKENS).filter(|_| number == MAX_TOKENS as f64))
        }
        Some(number) if number >= 1.0 => Ok(Some(number as usize)),
        _ => Err(format(
            &folder.join(file),
            format!("`{field}` is {value}, expected a positive number of tokens"),
        )),
    }
}
