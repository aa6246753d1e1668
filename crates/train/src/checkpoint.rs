//! All that a resume needs, in one file.

use std::collections::HashMap;
use std::path::Path;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sail_core::write_atomic;
use serde::{Deserialize, Serialize};

use crate::{Best, TrainError};

const METADATA: &str = "sail_checkpoint";
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
    let module = module
        .into_record()
        .into_bytes()
        .map_err(TrainError::damaged(path))?;
    let optimizer = optimizer.into_bytes().map_err(TrainError::damaged(path))?;
    let description = Description {
        version: VERSION,
        progress: progress.clone(),
    };
    let json = serde_json::to_string(&description).map_err(TrainError::damaged(path))?;
    let view = |bytes| TensorView::new(Dtype::U8, vec![<[u8]>::len(bytes)], bytes);
    let views = [("module", view(&module)), ("optimizer", view(&optimizer))];
    let views = views.map(|(name, view)| view.map(|view| (name, view)));
    let views: Vec<_> = views
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(TrainError::damaged(path))?;
    let metadata = HashMap::from([(METADATA.to_owned(), json)]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(TrainError::damaged(path))?;
    write_atomic(path, |out| out.write_all(&file)).map_err(TrainError::io(path))
}

/// Reads a checkpoint into a module and an optimiser of the run's configuration.
pub(crate) fn load<M: Module>(
    path: &Path,
    module: M,
    optimizer: ModuleOptimizer,
) -> Result<(Progress, M, ModuleOptimizer), TrainError> {
    let file = std::fs::read(path).map_err(TrainError::io(path))?;
    let (_, header) = SafeTensors::read_metadata(&file).map_err(TrainError::damaged(path))?;
    let json = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(METADATA));
    let json = json
        .ok_or("not a checkpoint")
        .map_err(TrainError::damaged(path))?;
    let Description { version, progress } =
        serde_json::from_str(json).map_err(TrainError::damaged(path))?;
    if version != VERSION {
        let reason = format!("version {version} of the format, expected {VERSION}");
        return Err(TrainError::Damaged {
            path: path.to_owned(),
            reason,
        });
    }
    let tensors = SafeTensors::deserialize(&file).map_err(TrainError::damaged(path))?;
    let record = |name| {
        let bytes = tensors
            .tensor(name)
            .map_err(TrainError::damaged(path))?
            .data()
            .to_vec();
        Ok::<_, TrainError>(Bytes::from_bytes_vec(bytes))
    };
    let weights = ModuleRecord::from_bytes(record("module")?).map_err(TrainError::damaged(path))?;
    let module = module
        .try_load_record(weights)
        .map_err(TrainError::damaged(path))?;
    let state =
        OptimizerRecord::from_bytes(record("optimizer")?).map_err(TrainError::damaged(path))?;
    Ok((progress, module, optimizer.load_record(state)))
}
