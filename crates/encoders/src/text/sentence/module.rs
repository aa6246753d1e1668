//! The modules after the pooling.

use burn::module::Module as _;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Tensor};
use sail_core::l2_normalize;
use serde_json::{Value, json};

use super::dense::Dense;
use crate::config::{Fields, SIZE};
use crate::pretrained::small_file::{MAX_JSON, read_json};
use crate::pretrained::{self, ModelError, ModelFolder, ModuleKind, Names, Weights};

/// A module that changes the pooled embedding.
pub(super) enum Module {
    Dense(Dense),
    LayerNorm(Norm),
    Normalize,
}

#[derive(burn::module::Module, Debug)]
pub(super) struct Norm {
    norm: LayerNorm,
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
        let weights = || Weights::open(&module.weights(folder.path())?);
        Ok(Some(match module.kind {
            ModuleKind::Dense => Self::Dense(Dense::load(&config, &weights()?, width, device)?),
            ModuleKind::LayerNorm => {
                let fields = Fields(&config);
                if fields.size("dimension", None, SIZE)? != *width {
                    return Err(fields.error("dimension", format!("{width}, the width of the embedding")));
                }
                let mut norm = Norm { norm: LayerNormConfig::new(*width).with_epsilon(1e-5).init(device) };
                weights()?.load_into(&mut norm, &Names::default())?;
                Self::LayerNorm(norm.no_grad())
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
            Self::LayerNorm(norm) => norm.norm.forward(x),
            Self::Normalize => l2_normalize(x),
        }
    }

    pub(super) fn describe(&self) -> Value {
        match self {
            Self::Dense(dense) => dense.describe(),
            Self::LayerNorm(_) => json!("layer_norm"),
            Self::Normalize => json!("normalize"),
        }
    }
}
