//! `modules.json` of sentence-transformers: the parts of a sentence embedding and their folders.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::ModelError;
use super::small_file::{MAX_JSON, format, read_json};

/// The file with the list of modules.
pub(crate) const FILE: &str = "modules.json";
/// Files with the weights of a module, in order of preference.
pub(super) const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The class of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModuleKind {
    Transformer,
    Pooling,
    Dense,
    LayerNorm,
    Normalize,
    Dropout,
}

const KINDS: [(&str, ModuleKind); 6] = [
    ("Transformer", ModuleKind::Transformer),
    ("Pooling", ModuleKind::Pooling),
    ("Dense", ModuleKind::Dense),
    ("LayerNorm", ModuleKind::LayerNorm),
    ("Normalize", ModuleKind::Normalize),
    ("Dropout", ModuleKind::Dropout),
];

impl ModuleKind {
    /// Returns whether the module has weights of its own.
    pub(super) fn has_weights(self) -> bool {
        matches!(self, Self::Dense | Self::LayerNorm)
    }
}

/// A module of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) kind: ModuleKind,
    /// Folder relative to that of the model, with `/`; empty for the same folder.
    pub(crate) path: String,
}

impl Module {
    /// Returns the name of a file of the module, relative to the folder of the model.
    pub(crate) fn file(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    /// Returns the file with the weights of the module in a model folder.
    pub(crate) fn weights(&self, folder: &Path) -> Result<PathBuf, ModelError> {
        let files = WEIGHTS.map(|name| folder.join(self.file(name)));
        files.into_iter().find(|file| file.is_file()).ok_or_else(|| ModelError::Missing {
            folder: folder.join(&self.path).display().to_string(),
            what: "weights",
            looked_for: WEIGHTS.map(str::to_owned).into(),
        })
    }
}

/// Reads the modules of a model folder, a transformer first; empty without `modules.json`.
///
/// # Errors
/// Returns [`ModelError::Format`] if the file is not a list of supported modules, each inside the folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Module>, ModelError> {
    let path = folder.join(FILE);
    let Some(modules) = read_json(&path, MAX_JSON)? else { return Ok(Vec::new()) };
    let invalid = |reason: String| format(&path, reason);
    let modules = modules.as_array().ok_or_else(|| invalid("not a list of modules".into()))?;
    let modules =
        modules.iter().map(|module| parse(module).map_err(invalid)).collect::<Result<Vec<_>, _>>()?;
    let transformers = modules.iter().filter(|module| module.kind == ModuleKind::Transformer).count();
    if transformers != 1 || modules.first().is_none_or(|module| module.kind != ModuleKind::Transformer) {
        return Err(invalid(format!("{transformers} modules `Transformer`, expected one, the first")));
    }
    Ok(modules)
}

fn parse(module: &Value) -> Result<Module, String> {
    let class = module.get("type").and_then(Value::as_str).unwrap_or("unknown");
    let known = KINDS.iter().find(|(name, _)| class.rsplit('.').next() == Some(name));
    // Other packages are code in the repository of the model.
    let is_library = !class.contains('.') || class.starts_with("sentence_transformer");
    let Some((_, kind)) = known.filter(|_| is_library) else {
        let names = KINDS.map(|(name, _)| name).join(", ");
        return Err(format!(
            "unsupported module `{class}`, expected one of {names} of sentence-transformers"
        ));
    };
    let path = module.get("path").and_then(Value::as_str).unwrap_or("").replace('\\', "/");
    let mut parts = Vec::new();
    for part in Path::new(&path).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) if !part.as_encoded_bytes().contains(&b':') => {
                parts.push(part.to_string_lossy());
            }
            _ => return Err(format!("the path `{path}` is outside of the folder")),
        }
    }
    Ok(Module { kind: *kind, path: parts.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(modules: Value) -> Result<Vec<Module>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), modules.to_string()).unwrap();
        super::read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn classes_have_old_new_and_short_names() {
        let names = [
            "sentence_transformers.models.Transformer",
            "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
            "sentence_transformers.base.modules.dense.Dense",
            "Dropout",
        ];
        let modules = names.iter().zip(["0_Transformer/", "./1_Pooling", "2_Dense", ""]);
        let modules = modules.map(|(class, path)| json!({"type": class, "path": path})).collect();
        let modules = read(modules).unwrap();
        let found: Vec<_> = modules.iter().map(|module| (module.kind, module.file("x"))).collect();
        let expected = [
            (ModuleKind::Transformer, "0_Transformer/x"),
            (ModuleKind::Pooling, "1_Pooling/x"),
            (ModuleKind::Dense, "2_Dense/x"),
            (ModuleKind::Dropout, "x"),
        ];
        assert_eq!(found, expected.map(|(kind, file)| (kind, file.to_owned())));
    }

    #[test]
    fn rejects_other_modules_and_paths() {
        let transformer = json!({"type": "sentence_transformers.models.Transformer", "path": ""});
        let with =
            |class: &str, path: &str| read(json!([transformer, {"type": class, "path": path}])).unwrap_err();
        for class in ["sentence_transformers.models.WordWeights", "custom_st.Pooling", "unknown"] {
            assert!(with(class, "1").contains(&format!("unsupported module `{class}`")));
        }
        for path in ["../1_Pooling", "/1_Pooling", "a/../../b", "C:\\x", "..\\x"] {
            assert!(with("Pooling", path).contains("outside of the folder"), "{path}");
        }
        for modules in [json!([]), json!([{"type": "Pooling"}]), json!([transformer, transformer])] {
            assert!(read(modules).unwrap_err().contains("expected one, the first"));
        }
        assert!(read(json!({})).unwrap_err().contains("not a list"));
    }
}
