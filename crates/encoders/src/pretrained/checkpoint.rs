//! The files of a checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::{ModuleStore, SafetensorsStore};
use sail_support::stand_in;
use serde_json::Value;

use super::small_file::MAX_JSON;
use super::{ModelError, torch_file};

/// What to do about quantized weights.
pub(super) const UNQUANTIZED: &str =
    "quantized weights are not supported, use a checkpoint in bf16, f16 or f32";

/// Bytes at the start of a file that tell a stand-in.
const STAND_IN: u64 = 512;

/// The tensors of a checkpoint by name, read lazily.
#[derive(Clone, Default)]
pub(crate) struct Checkpoint {
    pub(super) tensors: Arc<BTreeMap<String, StoredTensor>>,
    files: Arc<[PathBuf]>,
    /// Whether every tensor exists in every shape, with random values.
    pub(super) random: bool,
}

impl Checkpoint {
    /// A checkpoint that has every tensor in every shape, with random values.
    pub(crate) fn random() -> Self {
        Self { random: true, ..Self::default() }
    }

    /// Opens a checkpoint in a single file.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        Self::open_all(&[path.to_owned()])
    }

    /// Opens a checkpoint in one or more files.
    pub(crate) fn open_all(files: &[PathBuf]) -> Result<Self, ModelError> {
        let mut tensors = BTreeMap::new();
        for path in files {
            let format = |reason: String| ModelError::Format { path: path.to_owned(), reason };
            for tensor in open_file(path).map_err(format)? {
                if let Some(duplicate) = tensors.insert(tensor.name.clone(), tensor) {
                    return Err(format(format!("`{}` is also in another shard", duplicate.name)));
                }
            }
        }
        Ok(Self { tensors: Arc::new(tensors), files: files.into(), random: false })
    }

    /// Returns a checkpoint of the same files that opens them for every reading: pages of a file in the memory map count as
    /// memory of the process as long as it is open.
    pub(crate) fn closed(&self) -> Self {
        let has_files = !self.files.is_empty();
        Self { tensors: if has_files { Arc::default() } else { self.tensors.clone() }, ..self.clone() }
    }

    /// Opens the files of a [closed](Self::closed) checkpoint again.
    pub(crate) fn reopened(&self) -> Result<Self, ModelError> {
        if self.files.is_empty() { Ok(self.clone()) } else { Self::open_all(&self.files) }
    }

    /// Returns the names of the tensors in the checkpoint.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the shape of a tensor by its name in the checkpoint.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Returns the number of values of all tensors.
    pub(crate) fn parameters(&self) -> u64 {
        let values = |shape: &[usize]| shape.iter().map(|size| *size as u64).product::<u64>();
        self.tensors.values().map(|tensor| values(tensor.shape.as_slice())).sum()
    }

    /// Counts the tensors by the first part of their names.
    pub(super) fn first_parts(&self) -> BTreeMap<String, usize> {
        let mut parts = BTreeMap::new();
        for name in self.names() {
            let part = name.find('.').map_or(name, |end| &name[..=end]);
            *parts.entry(part.to_owned()).or_default() += 1;
        }
        parts
    }
}

fn open_file(path: &Path) -> Result<Vec<StoredTensor>, String> {
    let mut start = Vec::new();
    let head = File::open(path).and_then(|file| file.take(STAND_IN).read_to_end(&mut start));
    head.map_err(|error| format!("cannot be read: {error}"))?;
    if let Some(stand_in) = stand_in(&start) {
        return Err(stand_in.to_string());
    }
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let mut store = SafetensorsStore::from_file(path);
        return match store.get_all_tensors() {
            Ok(tensors) => Ok(tensors.values().cloned().collect()),
            Err(error) => Err(quantized(path).unwrap_or_else(|| error.to_string())),
        };
    }
    torch_file::open(path)
}

/// Names a tensor with a dtype below 16 bits, if that is why a safetensors file cannot be opened.
fn quantized(path: &Path) -> Option<String> {
    const NARROW: [&str; 3] = ["F8", "F6", "F4"];
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length).min(MAX_JSON)).read_to_end(&mut header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header.as_object()?.iter().find_map(|(name, tensor)| {
        let dtype = tensor.get("dtype")?.as_str()?;
        let narrow = NARROW.iter().any(|narrow| dtype.starts_with(narrow));
        narrow.then(|| format!("`{name}` has dtype {dtype}: {UNQUANTIZED}"))
    })
}

#[cfg(test)]
impl Checkpoint {
    /// A checkpoint of tensors in memory.
    pub(crate) fn of<N: Into<String>>(
        tensors: impl IntoIterator<Item = (N, burn::tensor::TensorData)>,
    ) -> Self {
        let tensors = tensors.into_iter().map(|(name, data)| {
            let name = name.into();
            (name.clone(), burn_store::bridge::from_data(data, name, None))
        });
        Self { tensors: Arc::new(tensors.collect()), ..Self::default() }
    }

    /// Reads all tensors and returns the number of those that can be read.
    pub(super) fn read_all(&self) -> usize {
        self.tensors.values().filter(|tensor| burn_store::bridge::to_data(tensor).is_ok()).count()
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
pub(super) mod tests;
