//! EfficientNet-Lite.

use burn::tensor::Tensor;

use super::conv::{Conv, ConvSpec, Padding};
use crate::pretrained::Weights;

/// Epsilon of batch norm in TensorFlow.
const EPSILON: f64 = 1e-3;

/// EfficientNet-Lite0 to Lite4: EfficientNet (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6 instead of
/// Swish. One position of the map is 32 x 32 pixels.
///
/// # Tensors
/// `conv_stem`, `blocks.N.{expand_conv,depthwise_conv,project_conv}` and `conv_head`, each with `.weight` and `.norm.*`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EfficientNetSpec {
    /// Channels of the first convolution.
    pub(crate) stem: usize,
    pub(crate) blocks: Vec<InvertedBottleneck>,
    /// Channels of the last convolution.
    pub(crate) head: usize,
}

/// An inverted bottleneck: expansion, depthwise convolution, projection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InvertedBottleneck {
    pub(crate) input: usize,
    /// Channels after the expansion; there is none if they are those of the input.
    pub(crate) inner: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Whether the block has a residual connection: all blocks of a stage except the first.
    pub(crate) skip: bool,
}

#[derive(Debug)]
pub(super) struct EfficientNet {
    stem: Conv,
    blocks: Vec<Block>,
    head: Conv,
}

#[derive(Debug)]
struct Block {
    expand: Option<Conv>,
    depthwise: Conv,
    project: Conv,
    skip: bool,
}

impl EfficientNet {
    pub(super) fn load(weights: &mut Weights, spec: &EfficientNetSpec) -> Self {
        let mut conv = |name: &str, spec: ConvSpec| {
            Conv::load_normed(weights, name, spec.with_padding(Padding::Same), EPSILON)
        };
        let last = spec.blocks.last().map_or(spec.stem, |block| block.output);
        Self {
            stem: conv("conv_stem", ConvSpec::new([3, spec.stem], 3).with_stride(2)),
            blocks: Vec::from_iter(spec.blocks.iter().enumerate().map(|(index, shape)| {
                let InvertedBottleneck { input, inner, output, kernel, stride, skip } = *shape;
                let mut conv = |part: &str, spec| conv(&format!("blocks.{index}.{part}_conv"), spec);
                Block {
                    expand: (inner != input).then(|| conv("expand", ConvSpec::new([input, inner], 1))),
                    depthwise: conv("depthwise", ConvSpec::depthwise(inner, kernel).with_stride(stride)),
                    project: conv("project", ConvSpec::new([inner, output], 1)),
                    skip,
                }
            })),
            head: conv("conv_head", ConvSpec::new([last, spec.head], 1)),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu6(self.stem.forward(x));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        relu6(self.head.forward(x))
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

fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}
