//! The modules after the pooling.

use burn::tensor::{DType, Device, Tensor};
use sail_core::l2_normalize;
use serde_json::{Value, json};

use super::dense::Dense;
use crate::blocks::Norm;
use crate::config::{Fields, SIZE};
use crate::pretrained::small_file::{MAX_JSON, read_json};
use crate::pretrained::{self, Checkpoint, ModelError, ModelFolder, ModuleKind, WeightMap};
use crate::spec::NormSpec;

/// A module that changes the pooled embedding.
pub(super) enum Module {
    Dense(Box<Dense>),
    LayerNorm(Box<Norm>),
    Normalize,
    /// Keeps the first elements only.
    Truncate(usize),
}

impl Module {
    /// Reads a module for inputs of this width, which becomes that of its outputs; `None` if it changes nothing.
    pub(super) fn read(
        folder: &ModelFolder,
        module: &pretrained::Module,
        width: &mut usize,
        device: &Device,
    ) -> Result<Option<Self>, ModelError> {
        let config =
            read_json(&folder.path().join(module.file("config.json")), MAX_JSON)?.unwrap_or_default();
        let checkpoint = || Checkpoint::open(&module.weights(folder.path())?);
        Ok(Some(match module.kind {
            ModuleKind::Dense => Self::Dense(Box::new(Dense::load(&config, &checkpoint()?, width, device)?)),
            ModuleKind::LayerNorm => {
                let fields = Fields(&config);
                if fields.size("dimension", None, SIZE)? != *width {
                    return Err(fields.error("dimension", format!("{width}, the width of the embedding")));
                }
                let mut weights = checkpoint()?.weights(&WeightMap::default(), DType::F32, device);
                let norm = Norm::load(&mut weights, "norm", *width, NormSpec::layer(1e-5));
                weights.finish()?;
                Self::LayerNorm(Box::new(norm))
            }
            ModuleKind::Normalize => {
                for field in ["module_input_name", "module_output_name"] {
                    Fields(&config).only(field, json!("sentence_embedding"))?;
                }
                Self::Normalize
            }
            ModuleKind::Dropout | ModuleKind::Transformer | ModuleKind::Pooling => return Ok(None),
        }))
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(dense) => dense.forward(x),
            Self::LayerNorm(norm) => norm.forward(x),
            Self::Normalize => l2_normalize(x),
            Self::Truncate(dim) => x.narrow(1, 0, *dim),
        }
    }

    pub(super) fn describe(&self) -> Value {
        match self {
            Self::Dense(dense) => dense.describe(),
            Self::LayerNorm(_) => json!("layer_norm"),
            Self::Normalize => json!("normalize"),
            Self::Truncate(dim) => json!({ "truncate": dim }),
        }
    }
}
