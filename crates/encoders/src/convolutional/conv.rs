//! Convolutions for inference.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor, module};

use crate::pretrained::Weights;

/// The shape of a convolution with a square kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConvSpec {
    pub(super) channels: [usize; 2],
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) groups: usize,
    pub(super) padding: Padding,
}

/// How the sides of the input are padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// The same on all sides.
    Fixed(usize),
    /// TensorFlow's `SAME`: the output has `ceil(side / stride)` elements. The odd one is after the side.
    Same,
}

impl ConvSpec {
    /// Not grouped, with stride 1 and a padding that keeps the size of the map if the kernel is odd.
    pub(super) fn new(channels: [usize; 2], kernel: usize) -> Self {
        Self { channels, kernel, stride: 1, groups: 1, padding: Padding::Fixed(kernel / 2) }
    }

    /// A kernel for each channel.
    pub(super) fn depthwise(channels: usize, kernel: usize) -> Self {
        Self { groups: channels, ..Self::new([channels; 2], kernel) }
    }

    pub(super) fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(super) fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }
}

/// A convolution with bias.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    /// `[out, in / groups, kernel, kernel]`
    weight: Tensor<4>,
    bias: Tensor<1>,
    spec: ConvSpec,
}

impl Conv {
    /// Takes `name.weight` and `name.bias`.
    pub(super) fn load(weights: &mut Weights, name: &str, spec: ConvSpec) -> Self {
        let dtype = weights.dtype();
        let weight = kernel(weights, name, spec);
        let bias = weights.take::<1>(&format!("{name}.bias"), [spec.channels[1]]);
        Self { weight: weight.cast(dtype), bias: bias.cast(dtype), spec }
    }

    /// Takes `name.weight`, and the batch norm after it as `name.norm.{weight,bias,running_mean,running_var}`, which is
    /// folded: `gamma (conv(x) - mean) / sqrt(variance + epsilon) + beta` is a convolution with bias.
    pub(super) fn load_normed(weights: &mut Weights, name: &str, spec: ConvSpec, epsilon: f64) -> Self {
        let dtype = weights.dtype();
        let weight = kernel(weights, name, spec).cast(DType::F32);
        let mut vector = |part: &str| {
            weights.take::<1>(&format!("{name}.norm.{part}"), [spec.channels[1]]).cast(DType::F32)
        };
        let (gamma, beta) = (vector("weight"), vector("bias"));
        let (mean, variance) = (vector("running_mean"), vector("running_var"));
        let scale = gamma / (variance + epsilon).sqrt();
        let bias = beta - mean * scale.clone();
        let channels = scale.dims()[0];
        let weight = weight * scale.reshape([channels, 1, 1, 1]);
        Self { weight: weight.cast(dtype), bias: bias.cast(dtype), spec }
    }

    /// # Shapes
    /// - x: `[batch, in, height, width]`, result: `[batch, out, height, width]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let ConvSpec { kernel, stride, groups, padding, .. } = self.spec;
        let [_, _, height, width] = x.dims();
        let padding = [height, width].map(|side| match padding {
            Padding::Fixed(padding) => (padding, padding),
            Padding::Same => same_padding(side, kernel, stride),
        });
        let options = ConvOptions::new_with_padding([stride; 2], padding, [1, 1], groups);
        module::conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

fn kernel(weights: &mut Weights, name: &str, spec: ConvSpec) -> Tensor<4> {
    let [input, output] = spec.channels;
    weights.take(&format!("{name}.weight"), [output, input / spec.groups, spec.kernel, spec.kernel])
}

/// Returns the `SAME` padding before and after a side, which makes the output `ceil(side / stride)`.
fn same_padding(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let covered = (side.div_ceil(stride) - 1) * stride + kernel;
    let padding = covered.saturating_sub(side);
    (padding / 2, padding - padding / 2)
}
