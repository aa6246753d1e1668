//! EfficientNet-Lite, a small convolutional backbone.

mod checkpoint;
mod config;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, FloatDType, Tensor, module};
use sail_core::{EncodeError, ImageEncoder, ImageFeatures, PatchTokens};
use serde_json::Value;

use self::checkpoint::Checkpoint;
use self::config::Config;
use crate::pretrained::{ModelError, Weights};

/// EfficientNet-Lite0 to Lite4: EfficientNet (Tan and Le 2019, arXiv 1905.11946) without squeeze-and-excitation and
/// with ReLU6 for Swish.
///
/// Images of any size are taken, padded as TensorFlow's `SAME`. The patch tokens are the last map before pooling,
/// one for about 32 x 32 pixels; their mean is the pooled output. There is no class token.
pub(super) struct EfficientNetLite {
    stem: Conv,
    blocks: Vec<Block>,
    head: Conv,
    precision: FloatDType,
}

/// An inverted bottleneck: expand, filter every channel by itself, project.
struct Block {
    expand: Option<Conv>,
    depthwise: Conv,
    project: Conv,
    skip: bool,
}

/// A convolution with the batch norm that follows it.
struct Conv {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    groups: usize,
}

impl EfficientNetLite {
    pub(super) fn load(
        config: &Value,
        weights: &Weights,
        precision: FloatDType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = Config::parse(config)?;
        Ok(Checkpoint::read(config, weights, device)?.fold(config, precision))
    }
}

impl ImageEncoder for EfficientNetLite {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let found = pixels.dims();
        if found[1] != 3 || found.contains(&0) {
            let expected = "[batch, 3, height, width] with nothing zero".to_owned();
            return Err(EncodeError::Shape { what: "pixels", found: found.to_vec(), expected });
        }
        let mut x = relu6(self.stem.forward(pixels.cast(self.precision)));
        for block in &self.blocks {
            x = block.forward(x);
        }
        let x = relu6(self.head.forward(x)).cast(DType::F32);
        let [batch, channels, rows, columns] = x.dims();
        let x = x.reshape([batch, channels, rows * columns]);
        Ok(ImageFeatures {
            class_token: None,
            pooled: Some(x.clone().mean_dim(2).reshape([batch, channels])),
            patches: Some(PatchTokens { tokens: x.swap_dims(1, 2), grid: [rows, columns] }),
        })
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let input = self.skip.then(|| x.clone());
        let x = match &self.expand {
            Some(expand) => relu6(expand.forward(x)),
            None => x,
        };
        let x = self.project.forward(relu6(self.depthwise.forward(x)));
        match input {
            Some(input) => x + input,
            None => x,
        }
    }
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let [_, _, kernel, _] = self.weight.dims();
        let padding = [height, width].map(|side| same_padding(side, kernel, self.stride));
        let options = ConvOptions::new_with_padding([self.stride; 2], padding, [1, 1], self.groups);
        module::conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

/// What `SAME` adds before and after a side so that it comes out as `ceil(side / stride)`: the odd one after.
fn same_padding(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let covered = (side.div_ceil(stride) - 1) * stride + kernel;
    let padding = covered.saturating_sub(side);
    (padding / 2, padding - padding / 2)
}

fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}
