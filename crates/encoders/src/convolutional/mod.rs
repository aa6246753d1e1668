//! Convolutional backbones.
//!
//! A specification is data, as that of a transformer, and a forward pass computes the last feature map from it. What the
//! outputs are is said once for all of them, by [`MapOutput`].

mod conv;
mod convnext;
mod efficientnet;
mod resnet;

use burn::tensor::{DType, Tensor};
use sail_core::{EncodeError, ImageEncoder, ImageFeatures, ImagePooling, PatchTokens};

pub(crate) use self::convnext::{ConvNextSpec, ConvNextStage};
pub(crate) use self::efficientnet::{EfficientNetSpec, InvertedBottleneck};
pub(crate) use self::resnet::{ResNetBlock, ResNetSpec, ResNetStage};
use crate::blocks::Norm;
use crate::pretrained::Weights;
use crate::spec::NormSpec;

/// A convolutional backbone. The patch tokens are the positions of its last feature map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConvolutionalSpec {
    pub(crate) network: NetworkSpec,
    pub(crate) output: MapOutput,
}

/// The layers that compute the feature map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NetworkSpec {
    EfficientNet(EfficientNetSpec),
    ResNet(ResNetSpec),
    ConvNext(ConvNextSpec),
}

/// What is made of the last feature map. A norm is the tensor `norm`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MapOutput {
    /// The pooled output is its mean.
    Mean,
    /// The pooled output is its mean after a norm.
    NormedMean(NormSpec),
    /// The map and its mean after a norm are patch tokens and class token (DINOv3).
    NormedTokens(NormSpec),
}

impl ConvolutionalSpec {
    /// Returns the number of channels of the feature map.
    pub(crate) fn width(&self) -> usize {
        match &self.network {
            NetworkSpec::EfficientNet(spec) => spec.head,
            NetworkSpec::ResNet(spec) => spec.stages.last().map_or(spec.stem, |stage| stage.channels),
            NetworkSpec::ConvNext(spec) => spec.stages.last().map_or(0, |stage| stage.channels),
        }
    }

    /// Returns the pooling by default: class token and patch mean, as in SAIL, if there is a class token.
    pub(crate) fn default_pooling(&self) -> ImagePooling {
        match self.output {
            MapOutput::Mean | MapOutput::NormedMean(_) => ImagePooling::Pooled,
            MapOutput::NormedTokens(_) => ImagePooling::Concat,
        }
    }

    /// Returns the smallest side of an image. Only ConvNeXt does not pad.
    fn smallest_side(&self) -> usize {
        match &self.network {
            NetworkSpec::ConvNext(spec) => spec.stride(),
            NetworkSpec::EfficientNet(_) | NetworkSpec::ResNet(_) => 1,
        }
    }
}

/// A convolutional backbone with its weights. Supports images of any size of at least the side of a patch token.
#[derive(Debug)]
pub(crate) struct Convolutional {
    network: Network,
    output: MapOutput,
    norm: Option<Norm>,
    smallest_side: usize,
    dtype: DType,
}

#[derive(Debug)]
enum Network {
    EfficientNet(efficientnet::EfficientNet),
    ResNet(resnet::ResNet),
    ConvNext(convnext::ConvNext),
}

impl Convolutional {
    /// Takes all tensors; [`Weights::finish`] tells whether they were there.
    pub(crate) fn load(weights: &mut Weights, spec: &ConvolutionalSpec) -> Self {
        let network = match &spec.network {
            NetworkSpec::EfficientNet(spec) => {
                Network::EfficientNet(efficientnet::EfficientNet::load(weights, spec))
            }
            NetworkSpec::ResNet(spec) => Network::ResNet(resnet::ResNet::load(weights, spec)),
            NetworkSpec::ConvNext(spec) => Network::ConvNext(convnext::ConvNext::load(weights, spec)),
        };
        let norm = match spec.output {
            MapOutput::Mean => None,
            MapOutput::NormedMean(norm) | MapOutput::NormedTokens(norm) => {
                Some(Norm::load(weights, "norm", spec.width(), norm))
            }
        };
        let (output, smallest_side) = (spec.output, spec.smallest_side());
        Self { network, output, norm, smallest_side, dtype: weights.dtype() }
    }

    fn normalize<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

impl ImageEncoder for Convolutional {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let [batch, channels, height, width] = pixels.dims();
        if batch == 0 || channels != 3 || height.min(width) < self.smallest_side {
            let found = vec![batch, channels, height, width];
            let side = self.smallest_side;
            let expected = match side {
                1 => "[batch, 3, height, width], all positive".to_owned(),
                _ => format!("[batch, 3, height, width] with sides of at least {side}"),
            };
            return Err(EncodeError::Shape { what: "pixels", found, expected });
        }
        let x = pixels.cast(self.dtype);
        let x = match &self.network {
            Network::EfficientNet(network) => network.forward(x),
            Network::ResNet(network) => network.forward(x),
            Network::ConvNext(network) => network.forward(x),
        };
        let x = x.cast(DType::F32);
        let [batch, channels, rows, columns] = x.dims();
        let x = x.reshape([batch, channels, rows * columns]);
        let mean = self.normalize(x.clone().mean_dim(2).reshape([batch, channels]));
        let tokens = x.swap_dims(1, 2);
        let grid = [rows, columns];
        Ok(match self.output {
            MapOutput::Mean | MapOutput::NormedMean(_) => ImageFeatures {
                class_token: None,
                patches: Some(PatchTokens { tokens, grid }),
                pooled: Some(mean),
            },
            MapOutput::NormedTokens(_) => ImageFeatures {
                class_token: Some(mean),
                patches: Some(PatchTokens { tokens: self.normalize(tokens), grid }),
                pooled: None,
            },
        })
    }
}
