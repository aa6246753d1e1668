//! The configuration of a pooling module.

use std::path::Path;

use sail_core::TextPooling;
use serde_json::Value;

use crate::pretrained::small_file::{MAX_JSON, format, read_json};
use crate::pretrained::{ModelError, ModelFolder, Module};

/// The boolean fields of older versions, in the order of concatenation, and the names of newer ones.
const MODES: [(&str, &str, TextPooling); 6] = [
    ("pooling_mode_cls_token", "cls", TextPooling::Class),
    ("pooling_mode_max_tokens", "max", TextPooling::Max),
    ("pooling_mode_mean_tokens", "mean", TextPooling::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", TextPooling::MeanSqrtLen),
    ("pooling_mode_weightedmean_tokens", "weightedmean", TextPooling::WeightedMean),
    ("pooling_mode_lasttoken", "lasttoken", TextPooling::Last),
];

/// The poolings of a model.
pub(super) struct PoolingConfig {
    /// Not empty; the results are concatenated.
    pub(super) poolings: Vec<TextPooling>,
    /// Whether the tokens of a prompt are pooled.
    pub(super) include_prompt: bool,
}

impl PoolingConfig {
    /// Reads the configuration of a module.
    pub(super) fn read(folder: &ModelFolder, module: &Module) -> Result<Self, ModelError> {
        let path = folder.path().join(module.file("config.json"));
        let config =
            read_json(&path, MAX_JSON)?.ok_or_else(|| format(&path, "missing, but named in modules.json"))?;
        let include_prompt = config.get("include_prompt").is_none_or(is_true);
        Ok(Self { poolings: poolings(&config, &path)?, include_prompt })
    }
}

fn poolings(config: &Value, path: &Path) -> Result<Vec<TextPooling>, ModelError> {
    let parse = |mode: &Value| {
        let known = MODES.iter().find(|(_, name, _)| mode == name);
        known.map(|(.., pooling)| *pooling).ok_or_else(|| {
            let names = MODES.map(|(_, name, _)| name).join(", ");
            format(path, format!("unsupported pooling {mode}, expected one of {names}"))
        })
    };
    match config.get("pooling_mode") {
        Some(Value::Array(modes)) if !modes.is_empty() => modes.iter().map(parse).collect(),
        Some(mode) => Ok(vec![parse(mode)?]),
        None => {
            let set = MODES.iter().filter(|(flag, ..)| config.get(flag).is_some_and(is_true));
            let poolings: Vec<_> = set.map(|(.., pooling)| *pooling).collect();
            Ok(if poolings.is_empty() { vec![TextPooling::Mean] } else { poolings })
        }
    }
}

/// Truth as in Python.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(config: Value) -> Result<Vec<TextPooling>, String> {
        poolings(&config, Path::new("1_Pooling/config.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn old_and_new_spellings_have_the_order_of_concatenation() {
        use TextPooling::{Class, Last, Max, Mean, MeanSqrtLen, WeightedMean};
        for (config, expected) in [
            (json!({}), vec![Mean]),
            (json!({"pooling_mode_mean_tokens": false}), vec![Mean]),
            (json!({"pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": 1}), vec![Mean, Last]),
            (json!({"pooling_mode": "weightedmean", "pooling_mode_cls_token": true}), vec![WeightedMean]),
            (json!({"pooling_mode": ["max", "cls", "mean_sqrt_len_tokens"]}), vec![Max, Class, MeanSqrtLen]),
        ] {
            assert_eq!(parsed(config.clone()), Ok(expected), "{config}");
        }
        for (config, found) in [
            (json!({"pooling_mode": "first"}), "\"first\""),
            (json!({"pooling_mode": 3}), "3"),
            (json!({"pooling_mode": []}), "[]"),
            (json!({"pooling_mode": ["mean", null]}), "null"),
        ] {
            let error = parsed(config).unwrap_err();
            assert!(
                error.contains(&format!("unsupported pooling {found}, expected one of cls, ")),
                "{error}"
            );
        }
    }
}
