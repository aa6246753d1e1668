//! The files of a model in a local folder.

use std::path::{Component, Path, PathBuf};

use sail_core::Provenance;
use sail_hub::RepoId;
use serde_json::Value;

use super::configuration;
use super::files::{WeightFiles, shards};
use super::hashes;
use super::modules::{self, Module};
use super::small_file::{MAX_JSON, read_json};
use super::{Checkpoint, ModelError};

/// A model in a local folder: `config.json`, weights, and the files of preprocessor or tokenizer, as on the hub.
///
/// The weights are the first found of `model.safetensors`, `model.safetensors.index.json` with its shards,
/// `pytorch_model.bin`, `pytorch_model.bin.index.json` with its shards, and a single file with the extension
/// `.safetensors`, `.bin`, `.pt`, `.pth` or `.pth.tar`. In a training checkpoint they may be the value of `state_dict`,
/// `model_state_dict`, `model`, `weights`, `teacher`, `student`, `encoder` or `target_encoder`, the first of these.
///
/// A folder of OpenCLIP has `open_clip_config.json` in place of `config.json`, and `open_clip_model.safetensors` or
/// `open_clip_pytorch_model.bin`. Adapters of PEFT and quantized weights are errors.
///
/// In a model of sentence-transformers, `modules.json` names the folder with these files, and further modules with weights of
/// their own. The folder of its transformer, such as `0_Transformer`, is opened as the model that it belongs to.
///
/// # Examples
/// ```no_run
/// # use sail_encoders::ModelFolder;
/// let folder = ModelFolder::open("models/all-MiniLM-L6-v2")?;
/// assert_eq!(folder.name(), "all-MiniLM-L6-v2");
/// assert_eq!(folder.model_type()?, "bert");
/// # Ok::<(), sail_encoders::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelFolder {
    path: PathBuf,
    name: String,
    revision: Option<String>,
    modules: Vec<Module>,
    backbone: PathBuf,
    config: Value,
    weights: Vec<PathBuf>,
}

impl ModelFolder {
    /// Opens a folder: reads `config.json` and finds the weights, which are read when the model is loaded.
    ///
    /// The name of the model is that of the folder, or id and commit for a snapshot in the cache of the hub,
    /// `models--org--name/snapshots/commit`.
    ///
    /// # Errors
    /// Returns [`ModelError`] if `config.json` or the weights are missing, the configuration is not a JSON object, or the
    /// index of the shards or `modules.json` names files that are missing or outside of the folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let owner = owner(path);
        let path = owner.as_deref().unwrap_or(path);
        let (name, revision) =
            identity(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let modules = modules::read(path)?;
        let subfolder = modules.first().map(|first| first.path.as_str()).filter(|path| !path.is_empty());
        let backbone = subfolder.map_or_else(|| path.to_owned(), |subfolder| path.join(subfolder));
        let (config, weights) = read_backbone(&backbone)?;
        for module in modules.iter().filter(|module| module.kind.has_weights()) {
            module.weights(path)?;
        }
        Ok(Self { path: path.to_owned(), name, revision, modules, backbone, config, weights })
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the id of the model on the hub, or the name of the folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the commit on the hub, if known.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Returns the content of `config.json`, a JSON object. Without a `model_type`, as in files of OpenCLIP
    /// (`open_clip_config.json`) and timm, it is `open_clip` or `timm`.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Returns the `model_type` of `config.json`.
    ///
    /// # Errors
    /// Returns [`ModelError::Config`] if it is missing.
    pub fn model_type(&self) -> Result<&str, ModelError> {
        let found = &self.config["model_type"];
        found.as_str().ok_or_else(|| ModelError::Config {
            field: "model_type",
            found: if found.is_null() { "missing".into() } else { found.to_string() },
            expected: "the name of a model family".into(),
        })
    }

    /// Reads a JSON file of the folder, such as `preprocessor_config.json`; `None` if it does not exist.
    ///
    /// # Errors
    /// Returns [`ModelError`] if the file is not JSON, is larger than 32 MiB, or cannot be read.
    pub fn json(&self, name: &str) -> Result<Option<Value>, ModelError> {
        read_json(&self.path.join(name), MAX_JSON)
    }

    /// Returns the folder of the backbone, its tokenizer and its preprocessing.
    pub(crate) fn backbone(&self) -> &Path {
        &self.backbone
    }

    /// Returns the modules of `modules.json`, the transformer first; empty without that file.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Returns the files of the weights of the backbone, sorted by name.
    pub fn weight_files(&self) -> &[PathBuf] {
        &self.weights
    }

    /// Computes the SHA-256 of the concatenated files of the weights, in hexadecimal: those of the backbone, then those of
    /// further modules.
    ///
    /// The cache of the hub names a file by its hash, which is taken from there. Those of other large files are remembered
    /// in the cache folder of the platform, until a file changes.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if a file cannot be read.
    pub fn weights_sha256(&self) -> Result<String, ModelError> {
        let further = self.modules.iter().filter(|module| module.kind.has_weights());
        let further = further.map(|module| module.weights(&self.path)).collect::<Result<Vec<_>, _>>()?;
        hashes::sha256(&[self.weights.as_slice(), &further].concat())
    }

    /// Returns name, revision and hash of the weights, without preprocessing and pooling.
    ///
    /// # Errors
    /// As [`weights_sha256`](Self::weights_sha256).
    pub fn provenance(&self) -> Result<Provenance, ModelError> {
        Ok(Provenance {
            revision: self.revision.clone(),
            weights_sha256: Some(self.weights_sha256()?),
            ..Provenance::new(&self.name)
        })
    }

    /// Opens the tensors, which are read lazily.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, ModelError> {
        Checkpoint::open_all(&self.weights)
    }
}

/// Reads the configuration of a backbone and finds its weights.
fn read_backbone(path: &Path) -> Result<(Value, Vec<PathBuf>), ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        // All names looked for are ASCII.
        names.extend(entry.map_err(io)?.file_name().into_string().ok());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let folder = path.display().to_string();
    let (config, layout) = configuration::read(path, &folder, &names)?;
    let weights = match WeightFiles::choose(&folder, &names, layout)? {
        WeightFiles::Single(name) => vec![path.join(name)],
        WeightFiles::Index(name) => {
            let index = path.join(name);
            let json = read_json(&index, MAX_JSON)?.unwrap_or_default();
            shards(&index, &json)?.into_iter().map(|name| path.join(name)).collect()
        }
    };
    for file in &weights {
        if !std::fs::metadata(file).map_err(|source| ModelError::Io { path: file.clone(), source })?.is_file()
        {
            return Err(ModelError::Format { path: file.clone(), reason: "not a regular file".into() });
        }
    }
    Ok((config, weights))
}

/// Returns the model that a folder belongs to, if it is that of the model's transformer.
fn owner(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    if path.join(modules::FILE).exists() {
        return None;
    }
    let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
    let modules = modules::read(parent).ok()?;
    modules.first().is_some_and(|first| first.path == name).then(|| parent.to_owned())
}

/// Returns name and revision of the model in a folder.
fn identity(path: &Path) -> std::io::Result<(String, Option<String>)> {
    // Keeps the name of a symbolic link, but resolves `..`.
    let path = if path.components().any(|part| part == Component::ParentDir) {
        path.canonicalize()?
    } else {
        std::path::absolute(path)?
    };
    if let Some(id) = RepoId::of_model_snapshot(&path) {
        return Ok((id.name().to_owned(), id.revision().map(str::to_owned)));
    }
    Ok((path.iter().next_back().unwrap_or_default().to_string_lossy().into_owned(), None))
}
