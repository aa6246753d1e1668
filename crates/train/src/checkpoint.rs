//! All that a resume needs, in one file.

use std::collections::HashMap;
use std::path::Path;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sail_support::write_atomic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Best, TrainError};

const METADATA: &str = "sail_checkpoint";
/// SHA-256 of that entry and of the tensors' bytes. A weight with a flipped bit is still a weight.
const CHECKSUM: &str = "sha256";
const VERSION: u32 = 1;

/// The state of a run beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps taken.
    pub(crate) steps: usize,
    /// Rows of the training data, which a resume must find again.
    pub(crate) rows: usize,
    /// Length of the metrics file.
    pub(crate) metrics: u64,
    /// The best evaluation.
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) stale: usize,
    /// True when the run stopped early.
    pub(crate) stopped: bool,
    /// Seconds of training so far.
    pub(crate) seconds: f64,
}

#[derive(Serialize, Deserialize)]
struct Description {
    version: u32,
    progress: Progress,
}

/// Writes a checkpoint: weights and optimiser as burnpack records within a safetensors file, so that one rename
/// replaces all of them.
pub(crate) fn save<M: Module>(
    path: &Path,
    progress: &Progress,
    module: M,
    optimizer: &ModuleOptimizer,
) -> Result<(), TrainError> {
    let module = module.into_record().into_bytes().map_err(TrainError::damaged(path))?;
    let optimizer = optimizer.into_bytes().map_err(TrainError::damaged(path))?;
    let description = Description { version: VERSION, progress: progress.clone() };
    let json = serde_json::to_string(&description).map_err(TrainError::damaged(path))?;
    let view = |bytes| TensorView::new(Dtype::U8, vec![<[u8]>::len(bytes)], bytes);
    let views = [("module", view(&module)), ("optimizer", view(&optimizer))];
    let views = views.map(|(name, view)| view.map(|view| (name, view)));
    let views: Vec<_> = views.into_iter().collect::<Result<_, _>>().map_err(TrainError::damaged(path))?;
    let checksum = checksum([json.as_bytes(), &module, &optimizer]);
    let metadata = HashMap::from([(METADATA.to_owned(), json), (CHECKSUM.to_owned(), checksum)]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(TrainError::damaged(path))?;
    write_atomic(path, |out| out.write_all(&file)).map_err(TrainError::io(path))
}

fn checksum(parts: [&[u8]; 3]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a checkpoint into a module and an optimiser of the run's configuration.
///
/// The optimiser is built for the module that was read: it may tell parameters apart by their ids, and those come
/// from the record.
pub(crate) fn load<M: Module>(
    path: &Path,
    module: M,
    optimizer: impl FnOnce(&M) -> ModuleOptimizer,
) -> Result<(Progress, M, ModuleOptimizer), TrainError> {
    let file = std::fs::read(path).map_err(TrainError::io(path))?;
    let (_, header) = SafeTensors::read_metadata(&file).map_err(TrainError::damaged(path))?;
    let entry = |name| {
        let metadata = header.metadata().as_ref();
        metadata
            .and_then(|metadata| metadata.get(name))
            .ok_or("not a checkpoint")
            .map_err(TrainError::damaged(path))
    };
    let (json, expected) = (entry(METADATA)?, entry(CHECKSUM)?);
    let Description { version, progress } = serde_json::from_str(json).map_err(TrainError::damaged(path))?;
    if version != VERSION {
        let reason = format!("version {version} of the format, expected {VERSION}");
        return Err(TrainError::Damaged { path: path.to_owned(), reason });
    }
    let tensors = SafeTensors::deserialize(&file).map_err(TrainError::damaged(path))?;
    let tensor = |name| {
        let tensor = tensors.tensor(name).map_err(TrainError::damaged(path))?;
        Ok::<_, TrainError>(tensor.data())
    };
    let (weights, state) = (tensor("module")?, tensor("optimizer")?);
    let found = checksum([json.as_bytes(), weights, state]);
    if found != *expected {
        return Err(TrainError::Damaged {
            path: path.to_owned(),
            reason: format!("its SHA-256 is {found}, expected {expected}"),
        });
    }
    let record = |bytes: &[u8]| Bytes::from_bytes_vec(bytes.to_vec());
    let weights = ModuleRecord::from_bytes(record(weights)).map_err(TrainError::damaged(path))?;
    let module = module.try_load_record(weights).map_err(TrainError::damaged(path))?;
    let state = OptimizerRecord::from_bytes(record(state)).map_err(TrainError::damaged(path))?;
    let optimizer = optimizer(&module).load_record(state);
    Ok((progress, module, optimizer))
}
