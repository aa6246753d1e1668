//! The side of a model for texts.

use std::fmt;

use sail_core::{Processor, Tokenizer};
use serde::Serialize;
use serde_json::Value;

use super::{processor_line, side_line};
use crate::families::{self, Source};
use crate::options::TextOptions;
use crate::pretrained::{ModelError, ModelFolder};
use crate::spec::{Offset, TextPositions, TextSpec};
use crate::text::sentence::{Prompts, Sentence};
use crate::text::{PretrainedTokenizer, PromptChoice};

/// What is understood of the side of a model for texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TextDescription {
    /// Width of the token states.
    pub width: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Number of heads of keys and values.
    pub key_value_heads: usize,
    /// Number of rows in the table of tokens.
    pub vocabulary: usize,
    /// Whether tokens attend to earlier tokens only.
    pub causal: bool,
    /// Tokens that attention reaches to either side, and the number of blocks with this limit.
    pub window: Option<(usize, usize)>,
    /// How positions are encoded.
    pub positions: String,
    /// The poolings by default, joined with `+`.
    pub pooling: String,
    /// What is applied after the pooling, in order.
    pub modules: Vec<Value>,
    /// Dimension of the embeddings.
    pub dim: usize,
    /// The prompt before every text by default; empty if there is none.
    pub prompt: String,
    /// Names of the model's prompts.
    pub prompts: Vec<String>,
    /// The tokenizer, as recorded with features.
    pub processor: Processor,
}

pub(super) fn describe(folder: &ModelFolder, source: &Source<'_>) -> Result<TextDescription, ModelError> {
    let spec = families::text(source)?.spec;
    let prompts = Prompts::read(folder)?;
    let tokenizer = PretrainedTokenizer::of_model(folder.backbone(), Some(&spec))?;
    let sentence = Sentence::read(folder, &TextOptions::default(), &spec, &burn::tensor::Device::flex())?;
    let attention = spec.blocks.first().map(|block| &block.attention);
    let windows: Vec<usize> = spec.blocks.iter().filter_map(|block| block.attention.window).collect();
    Ok(TextDescription {
        width: spec.width,
        layers: spec.blocks.len(),
        heads: attention.map_or(0, |attention| attention.heads),
        key_value_heads: attention.map_or(0, |attention| attention.key_value_heads),
        vocabulary: spec.vocabulary,
        causal: attention.is_some_and(|attention| attention.causal),
        window: windows.first().map(|window| (*window, windows.len())),
        positions: positions(&spec),
        pooling: sentence.pooling_name(),
        modules: sentence.described(),
        dim: sentence.dim,
        prompt: prompts.choose(&PromptChoice::Default)?,
        prompts: prompts.all().map(str::to_owned).collect(),
        processor: tokenizer.processor(),
    })
}

fn positions(spec: &TextSpec) -> String {
    let rotary = spec.blocks.iter().find_map(|block| block.attention.rotary);
    let table = match spec.positions {
        TextPositions::None => None,
        TextPositions::SinCos { .. } => Some("sines and cosines".to_owned()),
        TextPositions::Table { count, offset: Offset::Zero } => Some(format!("a table of {count}")),
        TextPositions::Table { count, offset: Offset::AfterPadding(id) } => {
            Some(format!("a table of {count}, from {}", id + 1))
        }
    };
    let relative = spec.relative.map(|relative| format!("relative, in {} buckets", relative.buckets));
    let rotary = rotary.map(|rotary| format!("rotary with theta {}", rotary.theta));
    let all: Vec<String> = [table, relative, rotary].into_iter().flatten().collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

impl fmt::Display for TextDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, layers, heads, key_value_heads, vocabulary, .. } = self;
        let grouped = match key_value_heads == heads {
            true => String::new(),
            false => format!(" ({key_value_heads} of keys and values)"),
        };
        side_line(
            f,
            "network",
            format_args!(
                "transformer of width {width}, {layers} blocks of {heads} heads{grouped}, {vocabulary} tokens"
            ),
        )?;
        let direction = if self.causal { "causal" } else { "bidirectional" };
        match self.window {
            None => side_line(f, "attention", direction)?,
            Some((window, count)) => side_line(
                f,
                "attention",
                format_args!("{direction}, within {window} tokens in {count} of {layers} blocks"),
            )?,
        }
        side_line(f, "positions", &self.positions)?;
        side_line(f, "input", processor_line(&self.processor))?;
        side_line(f, "prompt", format_args!("{:?}", self.prompt))?;
        if !self.prompts.is_empty() {
            side_line(f, "prompts", self.prompts.join(", "))?;
        }
        side_line(f, "pooling", &self.pooling)?;
        if !self.modules.is_empty() {
            let modules: Vec<String> = self.modules.iter().map(Value::to_string).collect();
            side_line(f, "modules", modules.join(", "))?;
        }
        side_line(f, "dimension", self.dim)
    }
}
