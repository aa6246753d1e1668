//! Sentence embeddings, as defined by the files of sentence-transformers.

mod dense;
mod module;
mod pooling;
mod prompt;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::{EncodeError, PoolingError, TextEncoder, TextFeatures, TextPooling, TokenBatch};
use serde_json::Value;

use module::Module;
use pooling::PoolingConfig;
pub use prompt::PromptChoice;
pub(crate) use prompt::Prompts;

use crate::pretrained::small_file::{MAX_JSON, format, read_json};
use crate::pretrained::{ModelError, ModelFolder, ModuleKind};

/// The poolings of a model, and what it applies to the pooled embedding.
pub(crate) struct Sentence {
    /// Concatenated.
    poolings: Vec<TextPooling>,
    modules: Vec<Module>,
    /// Whether the tokens of a prompt are pooled.
    pub(crate) pools_prompt: bool,
    /// Tokens at the start of every text that are not pooled.
    pub(crate) skipped: usize,
}

impl Sentence {
    /// Reads the modules of a model whose token states have this width.
    ///
    /// A pooling replaces those of the model. Without `modules.json`, it is the default of sentence-transformers: the last
    /// token for a decoder (`architectures` ending in `ForCausalLM`), else the mean.
    pub(crate) fn read(
        folder: &ModelFolder,
        pooling: Option<TextPooling>,
        skip_modules: bool,
        width: usize,
        device: &Device,
    ) -> Result<Self, ModelError> {
        check_transformer(folder)?;
        let mut own = None;
        let mut others = Vec::new();
        for module in folder.modules() {
            match module.kind {
                ModuleKind::Transformer | ModuleKind::Dropout => {}
                ModuleKind::Pooling if own.is_none() => own = Some(PoolingConfig::read(folder, module)?),
                ModuleKind::Pooling => return Err(misplaced(folder, module, "a single one")),
                _ if own.is_none() => return Err(misplaced(folder, module, "one after the `Pooling`")),
                _ => others.push(module),
            }
        }
        let PoolingConfig { poolings, include_prompt } = own.unwrap_or_else(|| fallback(folder));
        let poolings = match pooling {
            None | Some(TextPooling::Pooled) => poolings,
            Some(pooling) => vec![pooling],
        };
        let mut width = width * poolings.len();
        let mut modules = Vec::new();
        for module in others.into_iter().filter(|_| !skip_modules) {
            modules.extend(Module::read(folder, module, &mut width, device)?);
        }
        Ok(Self { poolings, modules, pools_prompt: include_prompt, skipped: 0 })
    }

    /// Returns the pooling of a tower: a plain one, if there is nothing else.
    pub(crate) fn pooling(&self) -> TextPooling {
        match self.poolings.as_slice() {
            [pooling] if self.modules.is_empty() && self.skipped == 0 => *pooling,
            _ => TextPooling::Pooled,
        }
    }

    /// Returns the names of the poolings, joined with `+`.
    pub(crate) fn pooling_name(&self) -> String {
        self.poolings.iter().map(TextPooling::to_string).collect::<Vec<_>>().join("+")
    }

    /// Describes the modules after the pooling as values.
    pub(crate) fn described(&self) -> Vec<Value> {
        self.modules.iter().map(Module::describe).collect()
    }

    /// Computes the sentence embeddings, `[batch, dim]`.
    fn embed(&self, features: &TextFeatures) -> Result<Tensor<2>, PoolingError> {
        let pooled = self.poolings.iter().map(|pooling| pooling.pool_after(self.skipped, features));
        let pooled = Tensor::cat(pooled.collect::<Result<Vec<_>, _>>()?, 1);
        Ok(self.modules.iter().fold(pooled, |x, module| module.forward(x)))
    }
}

/// Returns the pooling of a model without a pooling module.
fn fallback(folder: &ModelFolder) -> PoolingConfig {
    let config = folder.config();
    let architecture = config.get("architectures").and_then(|names| names.get(0)).and_then(Value::as_str);
    let causal = config.get("is_causal").and_then(Value::as_bool).unwrap_or(true);
    let decoder = architecture.is_some_and(|name| name.ends_with("ForCausalLM")) && causal;
    let pooling = if decoder { TextPooling::Last } else { TextPooling::Mean };
    PoolingConfig { poolings: vec![pooling], include_prompt: true }
}

/// Rejects models of sentence-transformers that do not return the states of all tokens for a pooling.
fn check_transformer(folder: &ModelFolder) -> Result<(), ModelError> {
    let transformer = super::limit::sentence_config(folder.backbone())?;
    let model = folder.path().join(prompt::FILE);
    let options = read_json(&model, MAX_JSON)?.unwrap_or_default();
    for (config, field, expected) in [
        (&transformer, "transformer_task", "feature-extraction"),
        (&transformer, "module_output_name", "token_embeddings"),
        (&options, "model_type", "SentenceTransformer"),
    ] {
        match config.get(field) {
            None | Some(Value::Null) => {}
            Some(found) if *found == expected => {}
            Some(found) => {
                let found = found.to_string();
                return Err(ModelError::Config { field, found, expected: format!("\"{expected}\"") });
            }
        }
    }
    Ok(())
}

fn misplaced(folder: &ModelFolder, module: &crate::pretrained::Module, expected: &str) -> ModelError {
    let path = folder.path().join("modules.json");
    format(&path, format!("unsupported module `{:?}` in `{}`, expected {expected}", module.kind, module.path))
}

/// An encoder with the sentence embedding as its `pooled` output.
pub(crate) struct SentenceEncoder {
    pub(crate) encoder: Arc<dyn TextEncoder>,
    pub(crate) sentence: Sentence,
}

impl TextEncoder for SentenceEncoder {
    fn encode_texts(&self, tokens: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let mut features = self.encoder.encode_texts(tokens)?;
        // Never an error: the poolings of a model are not `Pooled`, the only one that may fail.
        features.pooled = self.sentence.embed(&features).ok();
        Ok(features)
    }
}
