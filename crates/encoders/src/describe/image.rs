//! The side of a model for images.

use std::fmt;

use sail_core::{ImagePooling, ImagePreprocessor, Named, Processor};
use serde::Serialize;

use super::side_line;
use crate::convolutional::{ConvolutionalSpec, NetworkSpec};
use crate::families::{self, Source, VisionSide};
use crate::preprocess::ImageProcessor;
use crate::pretrained::{ModelError, ModelFolder};
use crate::spec::{Interpolation, RotaryGrid, VisionHead, VisionPositions, VisionSpec};

/// What is understood of the side of a model for images.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImageDescription {
    /// The kind of network: `transformer`, `EfficientNet`, `ResNet` or `ConvNeXt`.
    pub network: &'static str,
    /// Width of the token states, or channels of the last feature map.
    pub width: usize,
    /// Number of transformer blocks.
    pub layers: Option<usize>,
    /// Number of attention heads.
    pub heads: Option<usize>,
    /// Side of a patch in pixels.
    pub patch: Option<usize>,
    /// Number of class tokens.
    pub class_tokens: usize,
    /// Number of register tokens, which are no output.
    pub registers: usize,
    /// How positions are encoded.
    pub positions: String,
    /// Which images the network accepts.
    pub sizes: String,
    /// The pooling by default.
    pub pooling: ImagePooling,
    /// Dimension of the embeddings with it.
    pub dim: usize,
    /// The preprocessing, as recorded with features.
    pub processor: Processor,
    /// The preprocessing in one line.
    pub preprocessing: String,
}

pub(super) fn describe(folder: &ModelFolder, source: &Source<'_>) -> Result<ImageDescription, ModelError> {
    let side = families::vision(folder.config())?;
    let preprocessor = ImageProcessor::open(folder.backbone())?;
    let describe = |network| ImageDescription {
        network,
        processor: preprocessor.processor(),
        preprocessing: preprocessor.describe(),
        width: 0,
        layers: None,
        heads: None,
        patch: None,
        class_tokens: 0,
        registers: 0,
        positions: "none".to_owned(),
        sizes: "any size".to_owned(),
        pooling: ImagePooling::Pooled,
        dim: 0,
    };
    Ok(match side {
        VisionSide::Transformer(plan) => transformer(&plan(source)?.spec, describe("transformer")),
        VisionSide::Convolutional(plan) => {
            let spec = plan(source)?.spec;
            convolutional(&spec, describe(network(&spec)))
        }
    })
}

fn transformer(spec: &VisionSpec, base: ImageDescription) -> ImageDescription {
    let pooling = spec.default_pooling();
    let pooled = match (&spec.head, spec.projection) {
        (_, Some(width)) => width,
        (Some(VisionHead::Tanh { width }), None) => *width,
        _ => spec.width,
    };
    ImageDescription {
        width: spec.width,
        layers: Some(spec.blocks.len()),
        heads: spec.blocks.first().map(|block| block.attention.heads),
        patch: Some(spec.patch),
        class_tokens: spec.class_tokens,
        registers: spec.registers,
        positions: positions(spec),
        sizes: sizes(spec),
        pooling,
        dim: dim(pooling, spec.width, pooled),
        ..base
    }
}

fn convolutional(spec: &ConvolutionalSpec, base: ImageDescription) -> ImageDescription {
    let (pooling, width) = (spec.default_pooling(), spec.width());
    ImageDescription {
        width,
        class_tokens: usize::from(pooling == ImagePooling::Concat),
        pooling,
        dim: dim(pooling, width, width),
        ..base
    }
}

fn network(spec: &ConvolutionalSpec) -> &'static str {
    match spec.network {
        NetworkSpec::EfficientNet(_) => "EfficientNet",
        NetworkSpec::ResNet(_) => "ResNet",
        NetworkSpec::ConvNext(_) => "ConvNeXt",
    }
}

fn dim(pooling: ImagePooling, width: usize, pooled: usize) -> usize {
    match pooling {
        // No model has tokens by default.
        ImagePooling::Class | ImagePooling::PatchMean | ImagePooling::Tokens => width,
        ImagePooling::Concat => 2 * width,
        ImagePooling::Pooled => pooled,
    }
}

fn positions(spec: &VisionSpec) -> String {
    let absolute = match spec.positions {
        VisionPositions::None => None,
        VisionPositions::SinCos => Some("sines and cosines".to_owned()),
        VisionPositions::Table { grid: [rows, columns], interpolation, .. } => {
            let resized = match interpolation {
                Interpolation::Fixed => "not resized",
                Interpolation::Bicubic => "resized bicubically",
                Interpolation::BicubicAntialias => "resized bicubically with antialiasing",
                Interpolation::BicubicOffset => "resized bicubically by (n + 0.1) / side",
                Interpolation::Bilinear => "resized bilinearly",
                Interpolation::BilinearAntialias => "resized bilinearly with antialiasing",
            };
            Some(format!("a table of {rows}x{columns} patches, {resized}"))
        }
    };
    let rotary = spec.rotary_grid.as_ref().map(|grid| match grid {
        RotaryGrid::Centers => "rotary, by the centers of patches",
        RotaryGrid::Indices { .. } => "rotary, by scaled indices",
        RotaryGrid::ColumnsFirst { .. } => "rotary, columns first",
    });
    let all: Vec<_> = absolute.into_iter().chain(rotary.map(str::to_owned)).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

fn sizes(spec: &VisionSpec) -> String {
    let patch = spec.patch;
    match spec.positions {
        VisionPositions::Table { grid: [rows, columns], interpolation: Interpolation::Fixed, .. } => {
            format!("{}x{} pixels", rows * patch, columns * patch)
        }
        _ => format!("sides that are multiples of {patch}"),
    }
}

impl fmt::Display for ImageDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match (self.layers, self.heads, self.patch) {
            (Some(layers), Some(heads), Some(patch)) => {
                format!(", {layers} blocks of {heads} heads, patches of {patch}x{patch}")
            }
            _ => String::new(),
        };
        side_line(f, "network", format_args!("{} of width {}{network}", self.network, self.width))?;
        if self.class_tokens + self.registers > 0 {
            let (classes, registers) = (self.class_tokens, self.registers);
            side_line(f, "tokens", format_args!("class tokens {classes}, registers {registers}, patches"))?;
        }
        if self.layers.is_some() {
            side_line(f, "positions", &self.positions)?;
        }
        side_line(f, "input", &self.preprocessing)?;
        side_line(f, "sizes", &self.sizes)?;
        side_line(f, "pooling", self.pooling.name())?;
        side_line(f, "dimension", self.dim)
    }
}
