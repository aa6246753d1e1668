//! A model's files in a local folder.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use sail_core::Provenance;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::files::{WeightFiles, shards};
use super::small_file::{MAX_JSON, read_json};
use super::{ModelError, Weights};

/// A local folder in the layout of a snapshot of the hub: `config.json`, weights, and what prepares the input.
///
/// The weights are the first of `model.safetensors`, `model.safetensors.index.json` with its shards,
/// `pytorch_model.bin`, `pytorch_model.bin.index.json` with its shards, or else the only file that ends in
/// `.safetensors`, `.bin`, `.pt` or `.pth`.
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
    config: Value,
    weights: Vec<PathBuf>,
}

impl ModelFolder {
    /// Opens a folder: reads `config.json` and finds the weights, which are read when a model is built.
    ///
    /// The folder's name names the model. A snapshot in the hub's cache,
    /// `models--org--name/snapshots/commit`, has the id and the commit instead.
    ///
    /// # Errors
    /// [`ModelError`] for a folder without `config.json` or weights, a configuration that is not a JSON
    /// object, and an index of shards that names other than files of the folder, or absent ones.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let io = |source| ModelError::Io { path: path.to_owned(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(io)? {
            // Published names are ASCII, so one that is not UTF-8 is none of them.
            names.extend(entry.map_err(io)?.file_name().into_string().ok());
        }
        let config_path = path.join("config.json");
        let config = read_json(&config_path, MAX_JSON)?.ok_or_else(|| ModelError::Missing {
            folder: path.display().to_string(),
            what: "configuration",
            looked_for: vec!["config.json".into()],
        })?;
        if !config.is_object() {
            return Err(ModelError::Format { path: config_path, reason: "it is not a JSON object".into() });
        }
        let weights =
            match WeightFiles::choose(&path.display().to_string(), names.iter().map(String::as_str))? {
                WeightFiles::Single(name) => vec![path.join(name)],
                WeightFiles::Index(name) => {
                    let index = path.join(name);
                    let json = read_json(&index, MAX_JSON)?.unwrap_or_default();
                    shards(&index, &json)?.into_iter().map(|name| path.join(name)).collect()
                }
            };
        for file in &weights {
            if !std::fs::metadata(file)
                .map_err(|source| ModelError::Io { path: file.clone(), source })?
                .is_file()
            {
                return Err(ModelError::Format { path: file.clone(), reason: "it is not a file".into() });
            }
        }
        let (name, revision) = identity(path).map_err(io)?;
        Ok(Self { path: path.to_owned(), name, revision, config, weights })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's id on the hub, or the folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The commit on the hub, where it is known.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// `config.json`, an object.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The family of the model, as `config.json` names it.
    ///
    /// # Errors
    /// [`ModelError::Config`] when the configuration names none.
    pub fn model_type(&self) -> Result<&str, ModelError> {
        let found = &self.config["model_type"];
        found.as_str().ok_or_else(|| ModelError::Config {
            field: "model_type",
            found: if found.is_null() { "absent".into() } else { found.to_string() },
            expected: "the name of a family of models".into(),
        })
    }

    /// Another JSON file of the folder, such as `preprocessor_config.json`; `None` where there is none.
    ///
    /// # Errors
    /// [`ModelError`] for a file that is not JSON, is larger than 32 MiB, or cannot be read.
    pub fn json(&self, name: &str) -> Result<Option<Value>, ModelError> {
        read_json(&self.path.join(name), MAX_JSON)
    }

    /// The files that hold the weights, in the order of their names.
    pub fn weight_files(&self) -> &[PathBuf] {
        &self.weights
    }

    /// SHA-256 in hexadecimal of the weights, all files one after the other. This reads them once.
    ///
    /// # Errors
    /// [`ModelError::Io`] when a file cannot be read.
    pub fn weights_sha256(&self) -> Result<String, ModelError> {
        let mut hash = Sha256::new();
        // Read and not mapped: pages of a map count as memory of the process.
        let mut buffer = vec![0; 1 << 20];
        for path in &self.weights {
            let io = |source| ModelError::Io { path: path.clone(), source };
            let mut file = File::open(path).map_err(io)?;
            loop {
                match file.read(&mut buffer).map_err(io)? {
                    0 => break,
                    read => hash.update(buffer.get(..read).unwrap_or_default()),
                }
            }
        }
        Ok(hex(&hash.finalize()))
    }

    /// The model's name, revision and the hash of its weights, without preprocessing and pooling.
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

    /// The tensors, read when they are used.
    pub(crate) fn weights(&self) -> Result<Weights, ModelError> {
        Weights::open_all(&self.weights)
    }
}

/// Name and revision by the place of a folder.
fn identity(path: &Path) -> std::io::Result<(String, Option<String>)> {
    // A link keeps its own name; a path with `..` has one only once it is resolved.
    let path = if path.components().any(|part| part == Component::ParentDir) {
        path.canonicalize()?
    } else {
        std::path::absolute(path)?
    };
    let names: Vec<_> = path.iter().rev().take(3).map(|name| name.to_string_lossy()).collect();
    if let [commit, folder, repository] = names.as_slice()
        && folder == "snapshots"
        && let Some(id) = repository.strip_prefix("models--")
    {
        return Ok((id.replacen("--", "/", 1), Some(commit.to_string())));
    }
    Ok((names.first().map(ToString::to_string).unwrap_or_default(), None))
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
