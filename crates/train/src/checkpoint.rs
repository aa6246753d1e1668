//! Checkpoints: the full state of a run in one file.
//!
//! Checkpoints are untrusted input: the checksum is verified before burn parses the records.

use std::collections::HashMap;
use std::path::Path;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sail_core::AlignmentHead;
use sail_support::{hex, read_bounded, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::loss_scale::LossScale;
use crate::{Best, TrainError};

const METADATA: &str = "sail_checkpoint";
/// SHA-256 of that entry and of the tensors' bytes. A flipped bit in a weight cannot be detected otherwise.
const CHECKSUM: &str = "sha256";
const VERSION: u32 = 1;

/// Maximum length of a file: the largest head file, the two moments of its optimizer and its average.
const MAX_BYTES: u64 = 256 << 30;

/// Names of the records in the file.
const MODULE: &str = "module";
const OPTIMIZER: &str = "optimizer";
const EMA: &str = "ema";

/// The record of the head. The name of the field is part of the format.
#[derive(Module, Debug)]
pub(crate) struct Weights<H: AlignmentHead> {
    pub(crate) head: H,
}

/// The state of a run except for its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps taken.
    pub(crate) steps: usize,
    /// Number of training pairs, which must be the same when the run is resumed.
    pub(crate) rows: usize,
    /// Length of the metrics file.
    pub(crate) metrics: u64,
    /// The best evaluation.
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) stale: usize,
    /// Whether the run stopped early.
    pub(crate) stopped: bool,
    /// Seconds of training so far.
    pub(crate) seconds: f64,
    /// The scale of f16 gradients.
    #[serde(default)]
    pub(crate) loss_scale: LossScale,
}

impl Progress {
    /// Returns the state of a new run.
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            steps: 0,
            rows,
            metrics: 0,
            best: None,
            stale: 0,
            stopped: false,
            seconds: 0.0,
            loss_scale: LossScale::default(),
        }
    }
}

/// The description of a checkpoint, stored as JSON in its metadata.
#[derive(Serialize, Deserialize)]
struct Description {
    version: u32,
    progress: Progress,
    /// The signature of the run. Version 0.1.0 did not write it.
    #[serde(default)]
    signature: Option<Value>,
}

/// A checkpoint in memory.
pub(crate) struct Checkpoint<H: AlignmentHead> {
    pub(crate) progress: Progress,
    pub(crate) signature: Option<Value>,
    pub(crate) head: H,
    pub(crate) optimizer: ModuleOptimizer,
    /// The moving average of the parameters, if the run computes one.
    pub(crate) ema: Option<H>,
}

/// Writes a checkpoint: weights and optimizer as burnpack records within a safetensors file, so that one rename
/// replaces all of them.
pub(crate) fn save<H: AlignmentHead>(
    path: &Path,
    progress: &Progress,
    signature: &Value,
    head: H,
    optimizer: &ModuleOptimizer,
    ema: Option<H>,
) -> Result<(), TrainError> {
    let record = |head| Weights { head }.into_record().into_bytes().map_err(TrainError::damaged(path));
    let mut records = vec![
        (MODULE, record(head)?),
        (OPTIMIZER, optimizer.into_bytes().map_err(TrainError::damaged(path))?),
    ];
    if let Some(ema) = ema {
        records.push((EMA, record(ema)?));
    }
    let description =
        Description { version: VERSION, progress: progress.clone(), signature: Some(signature.clone()) };
    let json = serde_json::to_string(&description).map_err(TrainError::damaged(path))?;
    let view = |bytes| TensorView::new(Dtype::U8, vec![<[u8]>::len(bytes)], bytes);
    let views = records.iter().map(|(name, bytes)| view(bytes).map(|view| (*name, view)));
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(TrainError::damaged(path))?;
    let checksum = checksum([json.as_bytes()].into_iter().chain(records.iter().map(|(_, bytes)| &**bytes)));
    let metadata = HashMap::from([(METADATA.to_owned(), json), (CHECKSUM.to_owned(), checksum)]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(TrainError::damaged(path))?;
    write_atomic(path, |out| out.write_all(&file)).map_err(TrainError::io(path))
}

fn checksum<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Loads a checkpoint into a head and an optimizer with the configuration of the run.
///
/// The optimizer is built for the loaded head, because it may identify parameters by id, and the ids are part of the
/// record.
pub(crate) fn load<H: AlignmentHead>(
    path: &Path,
    head: H,
    optimizer: impl FnOnce(&H) -> ModuleOptimizer,
) -> Result<Checkpoint<H>, TrainError> {
    let file = read_bounded(path, MAX_BYTES).map_err(|error| TrainError::io(path)(error.into()))?;
    let (_, header) = SafeTensors::read_metadata(&file).map_err(TrainError::damaged(path))?;
    let entry = |name| {
        let metadata = header.metadata().as_ref();
        metadata
            .and_then(|metadata| metadata.get(name))
            .ok_or("not a checkpoint")
            .map_err(TrainError::damaged(path))
    };
    let (json, expected) = (entry(METADATA)?, entry(CHECKSUM)?);
    let Description { version, progress, signature } =
        serde_json::from_str(json).map_err(TrainError::damaged(path))?;
    if version != VERSION {
        let reason = format!("unsupported format version {version}, expected {VERSION}");
        return Err(TrainError::Damaged { path: path.to_owned(), reason });
    }
    let tensors = SafeTensors::deserialize(&file).map_err(TrainError::damaged(path))?;
    let tensor = |name| {
        let tensor = tensors.tensor(name).map_err(TrainError::damaged(path))?;
        Ok::<_, TrainError>(tensor.data())
    };
    let (weights, state) = (tensor(MODULE)?, tensor(OPTIMIZER)?);
    let ema = tensors.tensor(EMA).ok().map(|tensor| tensor.data());
    let found = checksum([json.as_bytes(), weights, state].into_iter().chain(ema));
    if found != *expected {
        return Err(TrainError::Damaged {
            path: path.to_owned(),
            reason: format!("its SHA-256 is {found}, expected {expected}"),
        });
    }
    let bytes = |bytes: &[u8]| Bytes::from_bytes_vec(bytes.to_vec());
    let load = |record: &[u8], head: H| {
        let record = ModuleRecord::from_bytes(bytes(record)).map_err(TrainError::damaged(path))?;
        let weights = Weights { head }.try_load_record(record).map_err(TrainError::damaged(path))?;
        Ok::<_, TrainError>(weights.head)
    };
    let ema = ema.map(|record| load(record, head.valid())).transpose()?;
    let head = load(weights, head)?;
    let state = OptimizerRecord::from_bytes(bytes(state)).map_err(TrainError::damaged(path))?;
    let optimizer = optimizer(&head).load_record(state);
    Ok(Checkpoint { progress, signature, head, optimizer, ema })
}
