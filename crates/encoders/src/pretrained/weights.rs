//! The tensors of a checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, TensorData};
use burn_store::burn_pack::{Error as PackError, Tensor as StoredTensor};
use burn_store::{ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, SafetensorsStore, bridge};
use sail_support::stand_in;

use super::slots::{Kind, slots};
use super::{ModelError, TensorProblems, torch_file};

/// Bytes at the start of a file that tell a stand-in.
const STAND_IN: u64 = 512;

/// The tensors of a checkpoint by name, read lazily.
#[derive(Clone)]
pub(crate) struct Weights {
    tensors: BTreeMap<String, StoredTensor>,
}

/// A mapping of the tensor names of a checkpoint to those of a module.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names {
    /// Optional prefixes: the first one found is stripped, and names without it are ignored.
    pub(crate) prefixes: &'static [&'static str],
    /// Replacements `(from, to)`, applied in order.
    pub(crate) renames: &'static [(&'static str, &'static str)],
    /// Prefixes of names to ignore, or suffixes if they start with a dot; applied last.
    pub(crate) ignored: &'static [&'static str],
}

impl Weights {
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
        Ok(Self { tensors })
    }

    /// Returns the names of the tensors in the checkpoint.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Loads a module, converting to `f32`. Tensor names and layouts are those of PyTorch (`weight` of shape `[out, in]`).
    ///
    /// Names, shapes and types are checked before anything is allocated or read, so a configuration cannot request more
    /// memory than the files contain. Unexpected integer tensors, such as `position_ids` and `num_batches_tracked`, are
    /// ignored.
    pub(crate) fn load_into<M: ModuleSnapshot>(
        &self,
        module: &mut M,
        names: &Names,
    ) -> Result<(), ModelError> {
        let mut tensors: BTreeMap<String, &StoredTensor> = self.named(names).collect();
        let mut problems = TensorProblems::default();
        let mut found = 0_usize;
        let read_errors = Arc::new(Mutex::new(Vec::new()));
        let mut fitting = Vec::new();
        for slot in slots(module) {
            let Some((name, tensor)) =
                tensors.remove_entry(&slot.name).or_else(|| tensors.remove_entry(slot.alias.as_ref()?))
            else {
                problems.missing.push(format!("`{}`", slot.name));
                continue;
            };
            found += 1;
            let shape = tensor.shape.as_slice();
            if shape != slot.shape {
                problems.invalid.push(format!("`{name}` has shape {shape:?}, expected {:?}", slot.shape));
            } else if kind(tensor.dtype) != Some(slot.kind) {
                let (dtype, expected) = (tensor.dtype, slot.kind);
                problems.invalid.push(format!("`{name}` has dtype {dtype:?}, expected {expected:?}"));
            } else {
                fitting.push(prepare(tensor, name, read_errors.clone()));
            }
        }
        let weights = tensors.into_iter().filter(|(_, tensor)| kind(tensor.dtype) == Some(Kind::Float));
        problems.unexpected.extend(weights.map(|(name, _)| format!("`{name}`")));
        if found == 0 {
            problems.prefixes = Some((self.first_parts(), names.prefixes));
        }
        if problems.is_empty() {
            let result = module.apply(fitting, None, Some(Box::new(PyTorchToBurnAdapter)), true);
            problems.invalid.append(&mut read_errors.lock().unwrap_or_else(PoisonError::into_inner));
            if problems.is_empty() {
                problems.invalid.extend(result.errors.iter().map(ToString::to_string));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        Err(ModelError::Tensors { problems: Box::new(problems) })
    }

    /// Counts the tensors by the first part of their names.
    fn first_parts(&self) -> BTreeMap<String, usize> {
        let mut parts = BTreeMap::new();
        for name in self.tensors.keys() {
            let part = name.find('.').map_or(name.as_str(), |end| &name[..=end]);
            *parts.entry(part.to_owned()).or_default() += 1;
        }
        parts
    }

    /// Returns the tensors with their names in the module.
    fn named(&self, names: &Names) -> impl Iterator<Item = (String, &StoredTensor)> {
        let has = |prefix: &&&str| self.tensors.keys().any(|name| name.starts_with(**prefix));
        let prefix = names.prefixes.iter().find(has).copied().unwrap_or("");
        let Names { renames, ignored, .. } = *names;
        self.tensors.iter().filter_map(move |(name, tensor)| {
            let name = name.strip_prefix(prefix)?.to_owned();
            let name = renames.iter().fold(name, |name, (from, to)| name.replace(from, to));
            let is_ignored = |part: &&str| {
                if part.starts_with('.') { name.ends_with(part) } else { name.starts_with(part) }
            };
            (!ignored.iter().any(is_ignored)).then_some((name, tensor))
        })
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
        let tensors = store.get_all_tensors().map_err(|error| error.to_string())?;
        return Ok(tensors.values().cloned().collect());
    }
    torch_file::open(path)
}

fn kind(dtype: DType) -> Option<Kind> {
    match dtype {
        dtype if dtype.is_float() => Some(Kind::Float),
        dtype if dtype.is_int() || dtype.is_uint() => Some(Kind::Int),
        dtype if dtype.is_bool() => Some(Kind::Bool),
        _ => None,
    }
}

/// Renames a tensor, to be cast and checked when it is read; `errors` collects the failures.
fn prepare(tensor: &StoredTensor, name: String, errors: Arc<Mutex<Vec<String>>>) -> StoredTensor {
    let tensor = tensor.clone();
    let target = if tensor.dtype.is_float() { DType::F32 } else { tensor.dtype };
    bridge::deferred(name.clone(), target, tensor.shape.clone(), None, move || {
        read(&tensor, target).map_err(|reason| {
            let problem = format!("`{name}` cannot be read: {reason}");
            errors.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
            PackError::ValidationError(reason)
        })
    })
}

fn read(tensor: &StoredTensor, target: DType) -> Result<TensorData, String> {
    let data = bridge::to_data(tensor).map_err(|error| error.to_string())?;
    let data = data.try_cast(target).map_err(|error| error.to_string())?;
    if is_finite(&data) { Ok(data) } else { Err("not all values are finite in f32".into()) }
}

/// Returns whether all `f32` values are finite: NaN and infinities have all exponent bits set.
fn is_finite(data: &TensorData) -> bool {
    let finite = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes) << 1 < 0xff << 24;
    // A loop without branches vectorizes.
    data.dtype() != DType::F32
        || data.as_bytes().as_chunks().0.iter().fold(true, |all, bytes| all & finite(bytes))
}

#[cfg(test)]
impl Weights {
    /// Reads all tensors and returns the number of those that can be read.
    pub(super) fn read_all(&self) -> usize {
        self.tensors.values().filter(|tensor| bridge::to_data(tensor).is_ok()).count()
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
pub(super) mod tests;
