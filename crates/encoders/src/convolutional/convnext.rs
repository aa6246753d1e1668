//! ConvNeXt and ConvNeXt V2.

use burn::tensor::{DType, Tensor};

use super::conv::{Conv, ConvSpec, Padding};
use crate::blocks::{Activation, Linear, Norm};
use crate::pretrained::Weights;
use crate::spec::NormSpec;

/// Side of the depthwise kernels.
const KERNEL: usize = 7;
/// Factor from the channels to those between the linear layers.
const EXPANSION: usize = 4;
/// Epsilon of the global response norm.
const RESPONSE_EPSILON: f64 = 1e-6;

/// ConvNeXt (arXiv 2201.03545) and ConvNeXt V2 (arXiv 2301.00808): patches, then stages of blocks, between which the sides of
/// the map are halved.
///
/// # Tensors
/// All with `.weight` and `.bias`, except `gamma`:
///
/// | name | layer |
/// |---|---|
/// | `stem.0`, `stem.1` | convolution, norm |
/// | `stages.S.downsample.0`, `.1`, from the second stage | norm, convolution |
/// | `stages.S.layers.B.dwconv`, `.norm`, `.mlp.up`, `.grn`, `.mlp.down`, `.gamma` | a block |
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConvNextSpec {
    /// Side of a patch in pixels.
    pub(crate) patch: usize,
    pub(crate) stages: Vec<ConvNextStage>,
    pub(crate) activation: Activation,
    pub(crate) norm: NormSpec,
    /// Whether the output of a block is scaled by a learned factor per channel.
    pub(crate) layer_scale: bool,
    /// Whether there is a global response norm between the linear layers (V2).
    pub(crate) response_norm: bool,
}

/// Blocks of the same number of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvNextStage {
    pub(crate) channels: usize,
    pub(crate) blocks: usize,
}

#[derive(Debug)]
pub(super) struct ConvNext {
    stem: (Conv, Norm),
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    downsample: Option<(Norm, Conv)>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    conv: Conv,
    norm: Norm,
    up: Linear,
    activation: Activation,
    response: Option<ResponseNorm>,
    /// With the factor of layer scale.
    down: Linear,
}

/// Global response norm: `x + weight * x * (norm of the channel / mean of these norms) + bias`, over the map of an image.
#[derive(Debug)]
struct ResponseNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
}

impl ConvNextSpec {
    /// Pixels per side of a position of the map.
    pub(super) fn stride(&self) -> usize {
        self.patch << self.stages.len().saturating_sub(1)
    }
}

impl ConvNext {
    pub(super) fn load(weights: &mut Weights, spec: &ConvNextSpec) -> Self {
        let patches =
            |channels, side| ConvSpec::new(channels, side).with_stride(side).with_padding(Padding::Fixed(0));
        let first = spec.stages.first().map_or(0, |stage| stage.channels);
        let stem = (
            Conv::load(weights, "stem.0", patches([3, first], spec.patch)),
            Norm::load(weights, "stem.1", first, spec.norm),
        );
        let mut input = first;
        let stage = |(index, stage): (usize, &ConvNextStage)| {
            let name = format!("stages.{index}");
            let downsample = (index > 0).then(|| {
                let norm = Norm::load(weights, &format!("{name}.downsample.0"), input, spec.norm);
                let conv = patches([input, stage.channels], 2);
                (norm, Conv::load(weights, &format!("{name}.downsample.1"), conv))
            });
            input = stage.channels;
            let block = |block| Block::load(weights, &format!("{name}.layers.{block}"), input, spec);
            Stage { downsample, blocks: (0..stage.blocks).map(block).collect() }
        };
        let stages = spec.stages.iter().enumerate().map(stage).collect();
        Self { stem, stages }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (conv, norm) = &self.stem;
        let mut x = normalize(norm, conv.forward(x));
        for stage in &self.stages {
            if let Some((norm, conv)) = &stage.downsample {
                x = conv.forward(normalize(norm, x));
            }
            x = stage.blocks.iter().fold(x, |x, block| block.forward(x));
        }
        x
    }
}

impl Block {
    fn load(weights: &mut Weights, name: &str, width: usize, spec: &ConvNextSpec) -> Self {
        let dtype = weights.dtype();
        let inner = EXPANSION * width;
        let part = |part: &str| format!("{name}.{part}");
        let down = Linear::load(weights, &part("mlp.down"), [inner, width], true);
        let gamma = spec.layer_scale.then(|| weights.take(&part("gamma"), [width]));
        Self {
            conv: Conv::load(weights, &part("dwconv"), ConvSpec::depthwise(width, KERNEL)),
            norm: Norm::load(weights, &part("norm"), width, spec.norm),
            up: Linear::load(weights, &part("mlp.up"), [width, inner], true).cast(dtype),
            activation: spec.activation,
            response: spec.response_norm.then(|| ResponseNorm::load(weights, &part("grn"), inner)),
            down: down.scaled(gamma).cast(dtype),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(input.clone());
        let shape = x.dims();
        let x = self.norm.forward(channels_last(x));
        let mut x = self.activation.linear(x, &self.up);
        if let Some(response) = &self.response {
            x = response.forward(x, shape[0]);
        }
        input + channels_first(self.down.forward(x), shape)
    }
}

impl ResponseNorm {
    fn load(weights: &mut Weights, name: &str, width: usize) -> Self {
        let dtype = weights.dtype();
        let mut vector = |part: &str| weights.take::<1>(&format!("{name}.{part}"), [width]).cast(dtype);
        Self { weight: vector("weight"), bias: vector("bias") }
    }

    /// # Shapes
    /// - x and result: `[batch * positions, width]`
    fn forward(&self, x: Tensor<2>, batch: usize) -> Tensor<2> {
        let [rows, width] = x.dims();
        let dtype = x.dtype();
        let x = x.reshape([batch, rows / batch, width]);
        // The sum of squares over a map exceeds the range of f16.
        let norms = x.clone().cast(DType::F32).square().sum_dim(1).sqrt();
        let relative = norms.clone() / (norms.mean_dim(2) + RESPONSE_EPSILON);
        let factor = relative.cast(dtype) * self.weight.clone().unsqueeze() + 1.0;
        (x * factor + self.bias.clone().unsqueeze()).reshape([rows, width])
    }
}

/// Applies a norm over the channels of a map.
fn normalize(norm: &Norm, x: Tensor<4>) -> Tensor<4> {
    let shape = x.dims();
    channels_first(norm.forward(channels_last(x)), shape)
}

/// From `[batch, channels, height, width]` to `[batch * height * width, channels]`.
fn channels_last(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.permute([0, 2, 3, 1]).reshape([batch * height * width, channels])
}

/// The inverse of [`channels_last`].
fn channels_first(x: Tensor<2>, [batch, channels, height, width]: [usize; 4]) -> Tensor<4> {
    x.reshape([batch, height, width, channels]).permute([0, 3, 1, 2])
}
