//! ResNet.

use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Tensor, activation, module};

use super::conv::{Conv, ConvSpec};
use crate::pretrained::Weights;

/// Epsilon of batch norm.
const EPSILON: f64 = 1e-5;
/// Factor from the inner channels of a bottleneck to its output.
const EXPANSION: usize = 4;

/// ResNet (arXiv 1512.03385): a 7 x 7 convolution and a maximum over 3 x 3, each with stride 2, then stages of residual
/// blocks.
///
/// # Tensors
/// `conv1`, `stages.S.layers.B.conv{1,2,3}` and `stages.S.layers.B.shortcut`, each with `.weight` and `.norm.*`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResNetSpec {
    /// Channels of the first convolution.
    pub(crate) stem: usize,
    pub(crate) stages: Vec<ResNetStage>,
    pub(crate) block: ResNetBlock,
}

/// Blocks of the same number of channels; the first of them has the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResNetStage {
    pub(crate) channels: usize,
    pub(crate) blocks: usize,
    pub(crate) stride: usize,
}

/// The convolutions of a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResNetBlock {
    /// Two of 3 x 3, the first with the stride.
    Basic,
    /// 1 x 1 to a quarter of the channels, 3 x 3, 1 x 1.
    Bottleneck {
        /// Whether the first convolution has the stride, as in the paper, instead of the second, as in torchvision.
        stride_first: bool,
    },
}

#[derive(Debug)]
pub(super) struct ResNet {
    stem: Conv,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    convolutions: Vec<Conv>,
    /// Where stride or channels change.
    shortcut: Option<Conv>,
}

impl ResNetBlock {
    fn convolutions(self, input: usize, output: usize, stride: usize) -> Vec<ConvSpec> {
        match self {
            Self::Basic => {
                vec![ConvSpec::new([input, output], 3).with_stride(stride), ConvSpec::new([output; 2], 3)]
            }
            Self::Bottleneck { stride_first } => {
                let inner = output / EXPANSION;
                let [first, second] = if stride_first { [stride, 1] } else { [1, stride] };
                vec![
                    ConvSpec::new([input, inner], 1).with_stride(first),
                    ConvSpec::new([inner; 2], 3).with_stride(second),
                    ConvSpec::new([inner, output], 1),
                ]
            }
        }
    }
}

impl ResNet {
    pub(super) fn load(weights: &mut Weights, spec: &ResNetSpec) -> Self {
        let stem = ConvSpec::new([3, spec.stem], 7).with_stride(2);
        let stem = Conv::load_normed(weights, "conv1", stem, EPSILON);
        let mut blocks = Vec::new();
        let mut input = spec.stem;
        for (index, stage) in spec.stages.iter().enumerate() {
            let output = stage.channels;
            for block in 0..stage.blocks {
                let stride = if block == 0 { stage.stride } else { 1 };
                let mut conv = |part: &str, spec| {
                    Conv::load_normed(
                        weights,
                        &format!("stages.{index}.layers.{block}.{part}"),
                        spec,
                        EPSILON,
                    )
                };
                let specs = spec.block.convolutions(input, output, stride);
                let numbered = specs.into_iter().zip(1..);
                let convolutions =
                    numbered.map(|(spec, number)| conv(&format!("conv{number}"), spec)).collect();
                let changes = stride != 1 || input != output;
                let shortcut = ConvSpec::new([input, output], 1).with_stride(stride);
                let shortcut = changes.then(|| conv("shortcut", shortcut));
                blocks.push(Block { convolutions, shortcut });
                input = output;
            }
        }
        Self { stem, blocks }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = activation::relu(self.stem.forward(x));
        let x = module::max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]));
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let input = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x.clone()),
            None => x.clone(),
        };
        let mut convolutions = self.convolutions.iter();
        let first = convolutions.next().map_or(x.clone(), |conv| conv.forward(x));
        let x = convolutions.fold(first, |x, conv| conv.forward(activation::relu(x)));
        activation::relu(x + input)
    }
}
