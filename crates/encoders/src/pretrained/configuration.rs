//! The configuration of a backbone, in the layouts of several libraries.

use std::path::Path;

use serde_json::Value;

use super::ModelError;
use super::files::{self, Layout};
use super::small_file::{MAX_JSON, format, read_json};

/// The configuration of transformers, and of timm.
pub(super) const TRANSFORMERS: &str = "config.json";
/// The configuration of OpenCLIP.
pub(super) const OPEN_CLIP: &str = "open_clip_config.json";
/// The configuration of an adapter of PEFT.
pub(super) const ADAPTER: &str = "adapter_config.json";
/// Value of `model_type` in files of timm that transformers can load.
const TIMM_WRAPPER: &str = "timm_wrapper";

/// Reads the configuration in a folder that has, or will have, files with these names.
///
/// The files of OpenCLIP and timm have no `model_type`: it becomes `open_clip` or `timm`.
///
/// # Errors
/// Returns [`ModelError`] if there is no configuration, it is not a JSON object or cannot be read, it says that the weights
/// are quantized, or the files are those of an adapter.
pub(super) fn read(path: &Path, folder: &str, names: &[&str]) -> Result<(Value, Layout), ModelError> {
    if names.contains(&ADAPTER) && names.iter().any(|name| name.starts_with("adapter_model.")) {
        let config = object(path, ADAPTER)?.unwrap_or_default();
        let base = config["base_model_name_or_path"].as_str().unwrap_or("a base model").to_owned();
        return Err(ModelError::Adapter { folder: folder.to_owned(), base });
    }
    let open = |name| if names.contains(&name) { object(path, name) } else { Ok(None) };
    let (config, open_clip) = (open(TRANSFORMERS)?, open(OPEN_CLIP)?);
    let has = |files: &[&str]| names.iter().any(|name| files.contains(name));
    let model_type = config.as_ref().and_then(|config| config.get("model_type"));
    let model_type = model_type.filter(|model_type| !model_type.is_null());
    let architecture = config.as_ref().and_then(|config| config.get("architecture"));
    let is_timm = match model_type {
        Some(model_type) => model_type == TIMM_WRAPPER,
        None => architecture.is_some_and(Value::is_string),
    };
    // Some repositories have the files of several libraries.
    let prefers_open_clip = match (is_timm, model_type) {
        (true, _) => has(&files::OPEN_CLIP),
        (false, Some(_)) => has(&files::OPEN_CLIP) && !has(&files::PUBLISHED),
        (false, None) => true,
    };
    let (config, layout) = match (config, open_clip) {
        (_, Some(open_clip)) if prefers_open_clip => (with_type(open_clip, "open_clip"), Layout::OpenClip),
        (Some(config), _) if is_timm => (with_type(config, "timm"), Layout::Transformers),
        (Some(config), _) => (config, Layout::Transformers),
        (None, _) => {
            return Err(ModelError::Missing {
                folder: folder.to_owned(),
                what: "configuration",
                looked_for: [TRANSFORMERS, OPEN_CLIP].map(str::to_owned).into(),
            });
        }
    };
    match config.get("quantization_config") {
        None | Some(Value::Null) => Ok((config, layout)),
        Some(quantization) => Err(ModelError::Config {
            field: "quantization_config",
            found: quantization.get("quant_method").unwrap_or(quantization).to_string(),
            expected: "none: use a checkpoint in bf16, f16 or f32".into(),
        }),
    }
}

/// Reads a JSON object; `None` if the file does not exist.
fn object(folder: &Path, name: &str) -> Result<Option<Value>, ModelError> {
    let path = folder.join(name);
    match read_json(&path, MAX_JSON)? {
        Some(value) if !value.is_object() => Err(format(&path, "not a JSON object")),
        value => Ok(value),
    }
}

fn with_type(mut config: Value, model_type: &str) -> Value {
    config["model_type"] = model_type.into();
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Reads the configuration of a folder with these configurations and other files.
    fn read(files: &[(&str, Value)], others: &[&str]) -> Result<(Value, Layout), String> {
        let folder = tempfile::tempdir().unwrap();
        let mut names = others.to_vec();
        for (name, json) in files {
            std::fs::write(folder.path().join(name), json.to_string()).unwrap();
            names.push(name);
        }
        super::read(folder.path(), "folder", &names).map_err(|error| error.to_string())
    }

    #[test]
    fn the_library_is_recognized() {
        let clip = || (TRANSFORMERS, json!({"model_type": "clip"}));
        let timm = || (TRANSFORMERS, json!({"architecture": "vit_tiny", "pretrained_cfg": {}}));
        let wrapper = || (TRANSFORMERS, json!({"model_type": "timm_wrapper", "architecture": "vit_tiny"}));
        let open = || (OPEN_CLIP, json!({"model_cfg": {"embed_dim": 8}}));
        let own = "model.safetensors";
        let other = "open_clip_model.safetensors";
        for (files, others, model_type, layout) in [
            (vec![clip()], vec![own], "clip", Layout::Transformers),
            (vec![clip(), open()], vec![own, other], "clip", Layout::Transformers),
            (vec![clip(), open()], vec![other], "open_clip", Layout::OpenClip),
            (vec![open()], vec![own], "open_clip", Layout::OpenClip),
            (vec![open(), (TRANSFORMERS, json!({}))], vec![own], "open_clip", Layout::OpenClip),
            (vec![timm()], vec![own], "timm", Layout::Transformers),
            (vec![wrapper()], vec![own], "timm", Layout::Transformers),
            (vec![timm(), open()], vec![own], "timm", Layout::Transformers),
            (vec![timm(), open()], vec![own, other], "open_clip", Layout::OpenClip),
        ] {
            let (config, found) = read(&files, &others).unwrap();
            assert_eq!(
                (config["model_type"].as_str(), found),
                (Some(model_type), layout),
                "{files:?} {others:?}"
            );
        }
        let (config, _) = read(&[open()], &[]).unwrap();
        assert_eq!(config, json!({"model_type": "open_clip", "model_cfg": {"embed_dim": 8}}));
    }

    #[test]
    fn adapters_and_quantized_weights_are_refused() {
        let adapter = || (ADAPTER, json!({"peft_type": "LORA", "base_model_name_or_path": "org/base"}));
        let config = |quantization: Value| {
            (TRANSFORMERS, json!({"model_type": "bert", "quantization_config": quantization}))
        };
        let error = read(&[adapter(), config(json!(null))], &["adapter_model.safetensors"]).unwrap_err();
        assert!(error.starts_with("folder is an adapter of PEFT for org/base, not a model"), "{error}");
        assert!(error.contains(r#"from_pretrained("folder").merge_and_unload()"#), "{error}");
        // Without weights of an adapter, these are the settings of a merged one.
        assert!(read(&[adapter(), config(json!(null))], &["model.safetensors"]).is_ok());

        let error = read(&[config(json!({"quant_method": "fp8"}))], &[]).unwrap_err();
        assert!(
            error.starts_with(r#"`quantization_config` of the model is "fp8", expected none"#),
            "{error}"
        );
    }

    #[test]
    fn a_configuration_is_required() {
        let error = read(&[], &["model.safetensors"]).unwrap_err();
        assert_eq!(error, "folder has no configuration: looked for config.json, open_clip_config.json");
        for name in [TRANSFORMERS, OPEN_CLIP] {
            assert!(read(&[(name, json!([]))], &[]).unwrap_err().ends_with("not a JSON object"));
        }
    }
}
