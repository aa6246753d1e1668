//! Files of `torch.save`, read by a reader that executes nothing and knows only how tensors are described.
//!
//! [`PytorchReader`] refuses deep nesting, copies without end and storages outside the file. Three limits are added
//! here, for what it leaves open: every operation of a pickle, which can be one byte, becomes an object of a
//! hundred bytes or more; an entry of an archive may be compressed to almost nothing; and a view with strides
//! of 0 claims far more than it holds.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::{bridge, pytorch_reader::PytorchReader};

use super::pickle;

/// The largest description of tensors that is read: about 14,000 tensors.
const MAX_PICKLE: u64 = 2 << 20;
/// How a file of PyTorch before 1.6 begins: protocol 2, and a number of ten bytes.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Magic number, version, system, tensors, keys of the storages.
const LEGACY_PICKLES: usize = 5;
/// More dimensions than any weight has.
const MAX_RANK: usize = 8;
/// Where training scripts put the weights beside other things.
const CONTAINERS: [&str; 2] = ["state_dict.", "model_state_dict."];
/// What distributed training puts before every name.
const DISTRIBUTED: &str = "module.";

/// The tensors of a file, not yet read.
///
/// Weights in a dictionary beside others, as `state_dict` or `model_state_dict`, have their names there.
///
/// # Errors
/// Why the file cannot be used.
pub(super) fn open(path: &Path) -> Result<Vec<StoredTensor>, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let length = check(path)?;
    // The reader is not known to panic; if it does, that file is damaged and no reason to fall.
    let reader = catch_unwind(AssertUnwindSafe(|| PytorchReader::new(path)))
        .map_err(|_| "its description of the tensors is damaged".to_owned())?
        .map_err(|error| text(&error))?;
    let mut tensors = Vec::with_capacity(reader.len());
    for tensor in reader.into_tensors().into_values() {
        let (name, shape) = (&tensor.name, tensor.shape());
        if shape.len() > MAX_RANK {
            return Err(format!("`{name}` has {} dimensions, expected at most {MAX_RANK}", shape.len()));
        }
        if tensor.byte_len() as u64 > length {
            return Err(format!("`{name}` has shape {shape:?}, more than a file of {length} bytes holds"));
        }
        tensors.push(bridge::from_pytorch(tensor));
    }
    if let Some(container) =
        CONTAINERS.iter().find(|container| tensors.iter().any(|t| t.name.starts_with(**container)))
    {
        tensors.retain(|tensor| tensor.name.starts_with(*container));
        strip(&mut tensors, container);
    }
    if tensors.iter().all(|tensor| tensor.name.starts_with(DISTRIBUTED)) {
        strip(&mut tensors, DISTRIBUTED);
    }
    if tensors.is_empty() {
        return Err("it holds no tensors".into());
    }
    Ok(tensors)
}

fn strip(tensors: &mut [StoredTensor], prefix: &str) {
    for tensor in tensors {
        tensor.name.drain(..prefix.len());
    }
}

/// Checks what can be known before a pickle is interpreted, and gives the length of the file.
fn check(path: &Path) -> Result<u64, String> {
    let io = |error: std::io::Error| format!("it cannot be read: {error}");
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut head = Vec::new();
    file.by_ref().take(MAX_PICKLE).read_to_end(&mut head).map_err(io)?;
    // The reader looks for archives first.
    if head.starts_with(b"PK") {
        check_zip(file)?;
    } else if head.starts_with(LEGACY) && head.get(257..262) != Some(b"ustar") {
        let mut rest = head.as_slice();
        for _ in 0..LEGACY_PICKLES {
            (_, rest) = pickle::split_first(rest).ok_or_else(|| {
                format!("its description of the tensors is damaged, or larger than {MAX_PICKLE} bytes")
            })?;
        }
    } else {
        return Err("it is not a file of `torch.save` with tensors (of PyTorch 0.1.10 or later)".into());
    }
    Ok(length)
}

fn check_zip(file: File) -> Result<(), String> {
    let damaged = |error: zip::result::ZipError| format!("its archive is damaged: {error}");
    // The same reader as `PytorchReader` has, so that both see the same entries.
    let mut archive = catch_unwind(AssertUnwindSafe(|| zip::ZipArchive::new(file)))
        .map_err(|_| "its archive is damaged".to_owned())?
        .map_err(damaged)?;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?;
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(format!("`{name}` in its archive is compressed, which `torch.save` does not do"));
        }
        if name.ends_with("data.pkl") && entry.size() > MAX_PICKLE {
            return Err(format!(
                "`{name}` in its archive has {} bytes, expected at most {MAX_PICKLE}",
                entry.size()
            ));
        }
    }
    Ok(())
}
