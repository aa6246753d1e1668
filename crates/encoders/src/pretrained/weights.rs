//! Tensors taken from a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use burn_store::bridge;

use super::checkpoint::UNQUANTIZED;
use super::map::View;
use super::{Checkpoint, ModelError, TensorProblems, WeightMap};

/// Most missing tensors whose names are given as the checkpoint would spell them.
const SPELLED: usize = 256;

/// Tensors of a checkpoint that are taken one after the other; problems are collected.
///
/// A configuration cannot request more memory than the files contain: a tensor is read only if the checkpoint has it in the
/// expected shape, and nothing is read after the first problem.
pub(crate) struct Weights {
    checkpoint: Checkpoint,
    map: WeightMap,
    prefix: &'static str,
    /// By their names in the model.
    entries: BTreeMap<String, Entry>,
    dtype: DType,
    device: Device,
    problems: TensorProblems,
    /// Whether tensors are read, or only checked.
    reads: bool,
    /// The last tensor that was read for a part of it, if that was not the last part: the others are most likely taken next.
    last: Option<(String, TensorData)>,
}

/// Where the values of a tensor are.
struct Entry {
    /// Name in the checkpoint.
    name: String,
    view: View,
    /// Another tensor that gets the same name.
    clash: Option<String>,
    taken: bool,
}

impl Checkpoint {
    /// Starts to take tensors under the names that `map` gives them.
    pub(crate) fn weights(&self, map: &WeightMap, dtype: DType, device: &Device) -> Weights {
        Weights::new(self.clone(), *map, dtype, device.clone())
    }
}

impl Weights {
    fn new(checkpoint: Checkpoint, map: WeightMap, dtype: DType, device: Device) -> Self {
        let prefix = map.prefix(checkpoint.tensors.keys().map(String::as_str));
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        let is_float =
            |name: &str| checkpoint.tensors.get(name).is_some_and(|tensor| tensor.dtype.is_float());
        for (name, tensor) in checkpoint.tensors.iter() {
            let Some(rest) = name.strip_prefix(prefix) else { continue };
            let is_matrix = squeezed(tensor.shape.as_slice()).len() == 2;
            for (target, view) in map.apply(rest, is_matrix) {
                let mut entry = Entry { name: name.clone(), view, clash: None, taken: false };
                if let Some(other) = entries.remove(&target) {
                    match (is_float(name), is_float(&other.name)) {
                        (true, true) => entry.clash = Some(other.name),
                        (false, true) => entry = other,
                        _ => {}
                    }
                }
                entries.insert(target, entry);
            }
        }
        let problems = TensorProblems::default();
        Self { checkpoint, map, prefix, entries, dtype, device, problems, reads: true, last: None }
    }

    /// Takes a tensor: checks its shape, in which dimensions of size 1 do not count, and reads it.
    ///
    /// The result has the dtype of the computation, but `f32` if more precise values are stored: they can be combined before
    /// they are rounded. After a problem it is a placeholder of shape `[1, ..., 1]`.
    pub(crate) fn take<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Tensor<D> {
        if self.checkpoint.random {
            // As small as those of a new model.
            return Tensor::random(shape, Distribution::Normal(0.0, 0.02), (&self.device, self.dtype));
        }
        if shape.contains(&0) && !self.has(name) {
            return Tensor::zeros(shape, (&self.device, self.dtype));
        }
        let place = self.find(name, &shape);
        let read = place.filter(|_| self.reads && self.problems.is_empty()).map(|(stored, view)| {
            let read = self.read(&stored, view, shape);
            read.map_err(|reason| self.problems.invalid.push(format!("`{stored}` cannot be read: {reason}")))
        });
        match read {
            Some(Ok(tensor)) => tensor,
            _ => Tensor::zeros([1; D], (&self.device, self.dtype)),
        }
    }

    /// Takes tensors without reading them: checks that they are there for later.
    pub(crate) fn without_reading<T>(&mut self, take: impl FnOnce(&mut Self) -> T) -> T {
        let reads = std::mem::replace(&mut self.reads, false);
        let taken = take(self);
        self.reads = reads;
        taken
    }

    /// Returns whether the checkpoint has a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Returns the dtype of the computation.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Fails if there was a problem, or tensors are left that nobody took. Integers, such as `position_ids` and
    /// `num_batches_tracked`, may be left.
    pub(crate) fn finish(mut self) -> Result<(), ModelError> {
        let left = self.entries.values().filter(|entry| !entry.taken);
        let tensors = left.filter_map(|entry| self.checkpoint.tensors.get(&entry.name));
        let left = tensors.filter(|tensor| tensor.dtype.is_float() && !tensor.shape.as_slice().contains(&0));
        self.problems.unexpected.extend(left.map(|tensor| format!("`{}`", tensor.name)));
        self.check()
    }

    /// Fails if there was a problem so far.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut problems = self.problems.clone();
        let known = self.checkpoint.names().map(numberless).collect();
        // A configuration with too many layers may miss a hundred thousand.
        let rest = problems.missing.split_off(problems.missing.len().min(SPELLED));
        problems.missing =
            problems.missing.iter().map(|name| format!("`{}`", self.spelling(name, &known))).collect();
        problems.sort();
        problems.missing.extend(rest.into_iter().map(|name| format!("`{name}`")));
        let left = self.entries.values().filter(|entry| !entry.taken).map(|entry| entry.name.as_str());
        problems.add_similar(left);
        if !self.entries.values().any(|entry| entry.taken) {
            problems.prefixes = Some((self.checkpoint.first_parts(), self.map.prefixes));
        }
        Err(ModelError::Tensors { problems: Box::new(problems) })
    }

    /// Returns where a tensor is, if it can be read.
    fn find(&mut self, name: &str, shape: &[usize]) -> Option<(String, View)> {
        let Some(entry) = self.entries.get_mut(name) else {
            self.problems.missing.push(name.to_owned());
            return None;
        };
        entry.taken = true;
        let stored = &entry.name;
        let tensor = self.checkpoint.tensors.get(stored)?;
        let (found, dtype) = (tensor.shape.as_slice(), tensor.dtype);
        let problem = if let Some(clash) = &entry.clash {
            format!("`{clash}` and `{stored}` are both `{name}` of the model")
        } else if !dtype.is_float() {
            format!("`{stored}` has dtype {dtype:?}, expected a float: {UNQUANTIZED}")
        } else if entry.view.of(&squeezed(found)).is_none_or(|found| squeezed(&found) != squeezed(shape)) {
            format!("`{stored}` has shape {found:?}, expected {:?}", entry.view.stored(shape))
        } else {
            return Some((stored.clone(), entry.view));
        };
        self.problems.invalid.push(problem);
        None
    }

    /// Reads a tensor or a part of it.
    fn read<const D: usize>(
        &mut self,
        name: &str,
        view: View,
        shape: [usize; D],
    ) -> Result<Tensor<D>, String> {
        let last = self.last.take().filter(|(last, _)| last == name);
        let data = match last {
            Some((_, data)) => data,
            None => {
                let tensor = self.checkpoint.tensors.get(name).ok_or("it is not in the checkpoint")?;
                bridge::to_data(tensor).map_err(|error| error.to_string())?
            }
        };
        let stored = squeezed(data.shape().as_slice());
        let [rows, (column, columns)] = view.parts;
        let data = if view.is_part() {
            let part = part(&data, rows)?;
            if view.parts.iter().any(|(index, count)| index + 1 < *count) {
                self.last = Some((name.to_owned(), data));
            }
            part
        } else {
            data
        };
        let data = cast(data, self.dtype)?;
        let options = (&self.device, data.dtype());
        let reshape = |data: TensorData, shape: &[usize]| {
            let (bytes, _, dtype) = data.into_parts();
            TensorData::try_from_bytes(bytes, shape, dtype).map_err(|error| error.to_string())
        };
        match stored[..] {
            [height, width] if view.transposed || columns > 1 => {
                let matrix = Tensor::<2>::from_data(reshape(data, &[height / rows.1, width])?, options);
                let width = width / columns;
                let matrix = matrix.narrow(1, column * width, width);
                Ok(if view.transposed { matrix.transpose() } else { matrix }.reshape(shape))
            }
            _ => Ok(Tensor::from_data(reshape(data, &shape)?, options)),
        }
    }

    /// Returns the name that a tensor of the model most likely has in the checkpoint.
    fn spelling(&self, name: &str, known: &BTreeSet<String>) -> String {
        let candidates = self.map.invert(name).into_iter().map(|name| format!("{}{name}", self.prefix));
        let candidates: Vec<String> = candidates.collect();
        let likely = candidates.iter().find(|name| known.contains(&numberless(name)));
        likely.or(candidates.first()).map_or_else(|| name.to_owned(), String::clone)
    }
}

/// Returns a shape without the dimensions of size 1.
fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|size| *size != 1).collect()
}

/// Returns a name with `0` for every number.
fn numberless(name: &str) -> String {
    let parts = name.split('.');
    let parts = parts.map(|part| if part.bytes().all(|byte| byte.is_ascii_digit()) { "0" } else { part });
    parts.collect::<Vec<_>>().join(".")
}

/// Copies part `index` of `count` equal parts of the first dimension; the result is flat.
fn part(data: &TensorData, (index, count): (usize, usize)) -> Result<TensorData, String> {
    let length = data.num_elements() / count;
    let bytes = length * data.dtype().size();
    let values = data.as_bytes().get(index * bytes..(index + 1) * bytes).ok_or("too few values")?;
    TensorData::try_from_bytes_vec(values.to_vec(), [length], data.dtype()).map_err(|error| error.to_string())
}

/// Converts values for a computation in `dtype`, in which they must be finite. Those stored as `f32` or `f64` stay `f32`.
fn cast(data: TensorData, dtype: DType) -> Result<TensorData, String> {
    let target = match data.dtype() {
        DType::F64 | DType::F32 | DType::Flex32 => DType::F32,
        _ => dtype,
    };
    let data = if data.dtype() == target {
        data
    } else {
        data.try_cast(target).map_err(|error| error.to_string())?
    };
    if is_finite(&data, dtype) {
        Ok(data)
    } else {
        Err(format!("not all values are finite in {}", dtype.name()))
    }
}

/// Returns whether all values are finite when they are rounded to `dtype`.
fn is_finite(data: &TensorData, dtype: DType) -> bool {
    // The bits of the smallest value without its sign that becomes infinite; those of infinity and NaN are larger.
    // Loops without branches vectorize.
    let bytes = data.as_bytes();
    let half = |infinity: u16| {
        let finite = |bytes: &[u8; 2]| u16::from_ne_bytes(*bytes) << 1 < infinity << 1;
        bytes.as_chunks().0.iter().fold(true, |all, bytes| all & finite(bytes))
    };
    match data.dtype() {
        DType::F32 => {
            let infinity: u32 = match dtype {
                DType::F16 => 0x477f_f000,
                DType::BF16 => 0x7f7f_8000,
                _ => 0x7f80_0000,
            };
            let finite = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes) << 1 < infinity << 1;
            bytes.as_chunks().0.iter().fold(true, |all, bytes| all & finite(bytes))
        }
        DType::F16 => half(0x7c00),
        DType::BF16 => half(0x7f80),
        _ => true,
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
