//! Sentence embeddings, as defined by the files of sentence-transformers.

mod dense;
mod module;
mod pooling;
mod prompt;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::{
    EncodeError, Layer, PoolingError, TextEncoder, TextFeatures, TextPooling, TokenBatch, TowerError,
};
use serde_json::Value;

use module::Module;
use pooling::PoolingConfig;
pub use prompt::PromptChoice;
pub(crate) use prompt::Prompts;

use crate::config::Fields;
use crate::options::TextOptions;
use crate::pretrained::small_file::{MAX_JSON, format, read_json};
use crate::pretrained::{ModelError, ModelFolder, ModuleKind};
use crate::spec::{TextHead, TextSpec};

/// The poolings of a model, and what it applies to the pooled embedding.
pub(crate) struct Sentence {
    /// Concatenated.
    poolings: Vec<TextPooling>,
    modules: Vec<Module>,
    /// Whether the tokens of a prompt are pooled.
    pub(crate) pools_prompt: bool,
    /// Tokens at the start of every text that are not pooled.
    pub(crate) skipped: usize,
    /// Dimension of the embeddings.
    pub(crate) dim: usize,
}

impl Sentence {
    /// Reads the modules of a model.
    ///
    /// A pooling replaces those of the model. Without `modules.json`, it is the pooled output of the model if it has one, else
    /// the default of sentence-transformers: the last token for a decoder (`architectures` ending in `ForCausalLM`), else the
    /// mean.
    pub(crate) fn read(
        folder: &ModelFolder,
        options: &TextOptions,
        spec: &TextSpec,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = read_json(&folder.path().join(prompt::FILE), MAX_JSON)?.unwrap_or_default();
        check_transformer(folder, &config)?;
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
        let is_complete = own.is_some();
        let PoolingConfig { poolings, include_prompt } = own.map_or_else(|| fallback(folder, spec), Ok)?;
        let poolings = match options.pooling {
            None | Some(TextPooling::Pooled) => poolings,
            Some(pooling) => vec![pooling],
        };
        let widths = poolings.iter().map(|pooling| match (pooling, spec.pooled_width()) {
            (TextPooling::Pooled, Some(width)) => width,
            _ => spec.width,
        });
        let mut width = widths.sum();
        let mut modules = Vec::new();
        for module in others.into_iter().filter(|_| !options.skip_modules) {
            modules.extend(Module::read(folder, module, &mut width, device)?);
        }
        if !is_complete && !options.skip_modules && spec.normalizes() {
            modules.push(Module::Normalize);
        }
        if let Some(dim) = truncation(&config, options, width)? {
            let normalizes = modules.iter().any(|module| matches!(module, Module::Normalize));
            modules.push(Module::Truncate(dim));
            width = dim;
            modules.extend(normalizes.then_some(Module::Normalize));
        }
        Ok(Self { poolings, modules, pools_prompt: include_prompt, skipped: 0, dim: width })
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

/// Returns the dimension to cut embeddings to, as those of Matryoshka models (arXiv 2205.13147) can be.
fn truncation(config: &Value, options: &TextOptions, width: usize) -> Result<Option<usize>, ModelError> {
    let configured = || Fields(config).read::<usize>("truncate_dim", "a number of dimensions");
    let dim = match options.truncate_dim {
        None if options.skip_modules => None,
        None => configured()?,
        given => given,
    };
    match dim {
        Some(dim) if (1..=width).contains(&dim) => Ok(Some(dim).filter(|dim| *dim < width)),
        Some(dim) => Err(ModelError::Config {
            field: "truncate_dim",
            found: dim.to_string(),
            expected: format!("1 to {width}, the dimension of the embedding"),
        }),
        None => Ok(None),
    }
}

/// Returns the pooling of a model without a pooling module.
fn fallback(folder: &ModelFolder, spec: &TextSpec) -> Result<PoolingConfig, ModelError> {
    if spec.pooled_width().is_some() {
        return Ok(PoolingConfig { poolings: vec![TextPooling::Pooled], include_prompt: true });
    }
    if let Some(TextHead::Latent(latent)) = spec.head {
        return Ok(PoolingConfig { poolings: vec![TextPooling::Mean], include_prompt: latent.pools_prompt });
    }
    let config = folder.config();
    let architecture = config.get("architectures").and_then(|names| names.get(0)).and_then(Value::as_str);
    if architecture.is_some_and(|name| name.ends_with("ForSequenceClassification")) {
        return Err(Fields(config)
            .error("architectures", "an embedding model: this is a cross-encoder or a classifier"));
    }
    let causal = config.get("is_causal").and_then(Value::as_bool).unwrap_or(true);
    let decoder = architecture.is_some_and(|name| name.ends_with("ForCausalLM")) && causal;
    let pooling = if decoder { TextPooling::Last } else { TextPooling::Mean };
    Ok(PoolingConfig { poolings: vec![pooling], include_prompt: true })
}

/// Rejects models of sentence-transformers that do not return the states of all tokens for a pooling.
fn check_transformer(folder: &ModelFolder, options: &Value) -> Result<(), ModelError> {
    let transformer = super::limit::sentence_config(folder.backbone())?;
    for (config, field, expected) in [
        (&transformer, "transformer_task", "feature-extraction"),
        (&transformer, "module_output_name", "token_embeddings"),
        (options, "model_type", "SentenceTransformer"),
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
        // Only the pooling `Pooled` may fail, of a layer without a pooled output.
        features.pooled = self.sentence.embed(&features).ok();
        Ok(features)
    }

    fn encode_layers(&self, tokens: TokenBatch, layers: &[Layer]) -> Result<Vec<TextFeatures>, EncodeError> {
        let mut all = self.encoder.encode_layers(tokens, layers)?;
        for features in &mut all {
            features.pooled = self.sentence.embed(features).ok();
        }
        Ok(all)
    }

    fn embed_layers(
        &self,
        batches: &[TokenBatch],
        layers: &[Layer],
        device: &Device,
        pool: &(dyn Fn(TextFeatures) -> Result<Tensor<2>, TowerError> + Sync),
    ) -> Result<Vec<Vec<Tensor<2>>>, TowerError> {
        self.encoder.embed_layers(batches, layers, device, &|mut features| {
            features.pooled = self.sentence.embed(&features).ok();
            pool(features)
        })
    }

    fn preferred_rows(&self) -> Option<usize> {
        self.encoder.preferred_rows()
    }
}
