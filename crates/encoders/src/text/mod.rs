//! Text backbones, their tokenizers and their poolings.

mod bert;
mod fields;
mod growth;
mod limit;
pub(crate) mod sentence;
mod tokenizer;
mod wordpiece;

use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use sail_core::TextEncoder;
use serde_json::Value;

use bert::{Bert, Family};
use fields::Fields;
pub use tokenizer::PretrainedTokenizer;

use crate::pretrained::{ModelError, Weights};

/// The families by the `model_type` of `config.json`.
const FAMILIES: &[(&str, Family)] = &[
    ("bert", Family::Bert),
    ("camembert", Family::Roberta),
    ("distilbert", Family::DistilBert),
    ("mpnet", Family::MpNet),
    ("roberta", Family::Roberta),
    ("xlm-roberta", Family::Roberta),
];

/// Builds the encoder that a checkpoint's `config.json` describes and fills it with its weights.
///
/// It computes in `precision` and gives 32-bit floats. Its `pooled` output is empty: see
/// [`sentence::default_pooling`].
///
/// # Errors
/// [`ModelError::Config`] for an unknown `model_type`, which lists those known, or a value out of range, and
/// [`ModelError::Tensors`] for weights that do not fit.
pub(crate) fn load(
    config: &Value,
    weights: &Weights,
    precision: FloatDType,
    device: &Device,
) -> Result<Arc<dyn TextEncoder>, ModelError> {
    let family = Fields(config).choice("model_type", None, FAMILIES)?;
    Ok(Arc::new(Bert::load(family, config, weights, precision, device)?))
}

/// Whether a `model_type` is a text model's.
pub(crate) fn knows(family: &str) -> bool {
    FAMILIES.iter().any(|(name, _)| *name == family)
}
