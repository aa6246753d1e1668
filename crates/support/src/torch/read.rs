//! Reads files of `torch.save` without executing pickled code.
//!
//! [`PytorchReader`] rejects deep nesting, memo bombs and storages outside of the file. Three checks are added here: the size
//! of a pickle, because every one-byte opcode may become an object of a hundred bytes or more; compressed entries of an
//! archive, which may expand without bound; and views with stride 0, which claim more elements than the storage has.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_store::bridge;
use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::pytorch_reader::{PickleValue, PytorchError, PytorchReader};

use super::pickle;
use crate::catch_panic;

/// Maximum size of a pickle in bytes, enough for 14,000 tensors.
const MAX_PICKLE: u64 = 2 << 20;
/// Start of a file of PyTorch before 1.6: protocol 2 and the magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Pickles of such a file: magic number, version, system, tensors, keys of the storages.
const LEGACY_PICKLES: usize = 5;
/// Maximum number of dimensions.
const MAX_RANK: usize = 8;
/// Keys under which training scripts save the weights along with other state, in order of preference: the weights of a
/// teacher are an average of those of its student (DINO, iBOT), and the encoder of I-JEPA is the one that is published.
const CONTAINERS: [&str; 8] =
    ["state_dict", "model_state_dict", "model", "weights", "teacher", "student", "encoder", "target_encoder"];
/// Prefix of all names in distributed training.
const DISTRIBUTED: &str = "module.";
/// Prefixes of the encoder in a model with other parts, such as a head for training.
const ENCODERS: [&str; 2] = ["teacher.", "backbone."];

/// Opens the tensors of a file without reading them. Of several sets of weights, such as those of a student and a teacher,
/// it is the first of `state_dict`, `model_state_dict`, `model`, `weights`, `teacher`, `student`, `encoder` and
/// `target_encoder`.
///
/// # Errors
/// Returns the reason why the file is invalid.
pub fn open(path: &Path) -> Result<Vec<StoredTensor>, String> {
    let length = check(path)?;
    // A precaution: a panic of the reader means an invalid file.
    let reader = catch_panic(|| read(path))
        .map_err(|message| format!("corrupt pickle: {message}"))?
        .map_err(|error| error.to_string())?;
    let mut tensors = Vec::with_capacity(reader.len());
    for tensor in reader.into_tensors().into_values() {
        let (name, shape) = (&tensor.name, tensor.shape());
        if shape.len() > MAX_RANK {
            return Err(format!("`{name}` has {} dimensions, expected at most {MAX_RANK}", shape.len()));
        }
        if tensor.byte_len() as u64 > length {
            return Err(format!(
                "`{name}` has shape {shape:?}, which exceeds the {length} bytes of the file"
            ));
        }
        tensors.push(bridge::from_pytorch(tensor));
    }
    if tensors.iter().all(|tensor| tensor.name.starts_with(DISTRIBUTED)) {
        strip(&mut tensors, DISTRIBUTED);
    }
    for encoder in ENCODERS {
        if tensors.iter().any(|tensor| tensor.name.starts_with(encoder)) {
            tensors.retain(|tensor| tensor.name.starts_with(encoder));
            strip(&mut tensors, encoder);
        }
    }
    if tensors.is_empty() {
        return Err("no tensors".into());
    }
    Ok(tensors)
}

/// Reads the pickle of a file: the weights in one of the [`CONTAINERS`], else all tensors.
fn read(path: &Path) -> Result<PytorchReader, PytorchError> {
    if let PickleValue::Dict(root) = PytorchReader::read_pickle_data(path, None)? {
        let is_dict = |key: &&&str| matches!(root.get(**key), Some(PickleValue::Dict(_)));
        for key in CONTAINERS.iter().filter(is_dict) {
            let reader = PytorchReader::with_top_level_key(path, key)?;
            if !reader.is_empty() {
                return Ok(reader);
            }
        }
    }
    PytorchReader::new(path)
}

fn strip(tensors: &mut [StoredTensor], prefix: &str) {
    for tensor in tensors {
        tensor.name.drain(..prefix.len());
    }
}

/// Checks a file before its pickle is interpreted, and returns its length.
fn check(path: &Path) -> Result<u64, String> {
    let io = |error: std::io::Error| format!("cannot be read: {error}");
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut head = Vec::new();
    file.by_ref().take(MAX_PICKLE).read_to_end(&mut head).map_err(io)?;
    // The reader tries archives first.
    if head.starts_with(b"PK") {
        check_zip(file)?;
    } else if head.starts_with(LEGACY) && head.get(257..262) != Some(b"ustar") {
        let mut rest = head.as_slice();
        for _ in 0..LEGACY_PICKLES {
            (_, rest) = pickle::split_first(rest)
                .ok_or_else(|| format!("corrupt pickle, or one larger than {MAX_PICKLE} bytes"))?;
        }
    } else {
        return Err("not a file written by `torch.save` (PyTorch 0.1.10 or later)".into());
    }
    Ok(length)
}

fn check_zip(file: File) -> Result<(), String> {
    let corrupt = |error: zip::result::ZipError| format!("corrupt archive: {error}");
    // The zip reader of `PytorchReader`, so both see the same entries.
    let mut archive = catch_panic(|| zip::ZipArchive::new(file))
        .map_err(|message| format!("corrupt archive: {message}"))?
        .map_err(corrupt)?;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(corrupt)?;
        let name = entry.name().map_err(corrupt)?;
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(format!("the entry `{name}` is compressed, which `torch.save` never does"));
        }
        if name.ends_with("data.pkl") && entry.size() > MAX_PICKLE {
            return Err(format!(
                "the entry `{name}` has {} bytes, expected at most {MAX_PICKLE}",
                entry.size()
            ));
        }
    }
    Ok(())
}
