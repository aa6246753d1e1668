//! Text backbones, tokenizers and sentence embeddings.

mod bert;
mod growth;
pub(crate) mod limit;
pub(crate) mod sentence;
mod tokenizer;
mod wordpiece;

use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{Dtype, TextEncoder};
use serde_json::Value;

use bert::{Bert, Family};
pub use sentence::PromptChoice;
pub use tokenizer::PretrainedTokenizer;

use crate::config::Fields;
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

/// Loads the encoder of a checkpoint.
///
/// It computes in `dtype` and returns `f32`. Its `pooled` output is `None`, see [`sentence::SentenceEncoder`]. The second result
/// is the width of the token states.
///
/// # Errors
/// Returns [`ModelError::Config`] for an unknown `model_type` and for invalid fields, and [`ModelError::Tensors`] if the
/// weights do not match.
pub(crate) fn load(
    config: &Value,
    weights: &Weights,
    dtype: Dtype,
    device: &Device,
) -> Result<(Arc<dyn TextEncoder>, usize), ModelError> {
    let family = Fields(config).choice("model_type", None, FAMILIES)?;
    let bert = Bert::load(family, config, weights, dtype.into(), device)?;
    let width = bert.width();
    Ok((Arc::new(bert), width))
}

/// Returns whether a `model_type` is that of a text model.
pub(crate) fn supports(model_type: &str) -> bool {
    FAMILIES.iter().any(|(name, _)| *name == model_type)
}
