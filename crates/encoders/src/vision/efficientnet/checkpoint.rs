//! The parameters of a checkpoint and the folding of batch norm into the convolutions.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};

use super::config::{BlockShape, Config};
use super::network::{Block, Conv, EfficientNetLite};
use crate::pretrained::{ModelError, Names, Weights};
use crate::vision::parameter::{to_f32, zeros};

/// All parts of a name except indices start with an underscore.
const NAMES: Names =
    Names { prefixes: &["_"], renames: &[("._", ".")], ignored: &["fc.", ".num_batches_tracked"] };

/// Epsilon of batch norm in TensorFlow.
const EPSILON: f64 = 1e-3;

#[derive(Module, Debug)]
pub(super) struct Checkpoint {
    conv_stem: Kernel,
    bn0: Normalization,
    blocks: Vec<StoredBlock>,
    conv_head: Kernel,
    bn1: Normalization,
}

#[derive(Module, Debug)]
struct StoredBlock {
    expand_conv: Option<Kernel>,
    bn0: Option<Normalization>,
    depthwise_conv: Kernel,
    bn1: Normalization,
    project_conv: Kernel,
    bn2: Normalization,
}

/// A convolution without bias.
#[derive(Module, Debug)]
struct Kernel {
    weight: Param<Tensor<4>>,
}

/// Batch norm with running statistics.
#[derive(Module, Debug)]
struct Normalization {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

impl Checkpoint {
    /// Loads the parameters. No memory is allocated before the shapes have been checked.
    pub(super) fn read(config: Config, weights: &Weights, device: &Device) -> Result<Self, ModelError> {
        let kernel = |output, input, size| Kernel { weight: zeros([output, input, size, size], device) };
        let norm = |channels| Normalization {
            weight: zeros([channels], device),
            bias: zeros([channels], device),
            running_mean: zeros([channels], device),
            running_var: zeros([channels], device),
        };
        let block = |shape: &BlockShape| {
            let expands = shape.inner != shape.input;
            StoredBlock {
                expand_conv: expands.then(|| kernel(shape.inner, shape.input, 1)),
                bn0: expands.then(|| norm(shape.inner)),
                depthwise_conv: kernel(shape.inner, 1, shape.kernel),
                bn1: norm(shape.inner),
                project_conv: kernel(shape.output, shape.inner, 1),
                bn2: norm(shape.output),
            }
        };
        let shapes = config.blocks();
        let last = shapes.last().map_or(config.stem(), |shape| shape.output);
        let mut checkpoint = Self {
            conv_stem: kernel(config.stem(), 3, 3),
            bn0: norm(config.stem()),
            blocks: shapes.iter().map(block).collect(),
            conv_head: kernel(config.head(), last, 1),
            bn1: norm(config.head()),
        };
        weights.load_into(&mut checkpoint, &NAMES)?;
        Ok(checkpoint)
    }

    /// Folds batch norm and casts to the dtype of the forward pass.
    pub(super) fn fold(self, config: Config, dtype: DType) -> EfficientNetLite {
        let block = |(stored, shape): (StoredBlock, BlockShape)| Block {
            expand: stored.expand_conv.zip(stored.bn0).map(|(conv, norm)| fold(conv, norm, 1, 1, dtype)),
            depthwise: fold(stored.depthwise_conv, stored.bn1, shape.stride, shape.inner, dtype),
            project: fold(stored.project_conv, stored.bn2, 1, 1, dtype),
            skip: shape.skip,
        };
        EfficientNetLite {
            stem: fold(self.conv_stem, self.bn0, 2, 1, dtype),
            blocks: self.blocks.into_iter().zip(config.blocks()).map(block).collect(),
            head: fold(self.conv_head, self.bn1, 1, 1, dtype),
            dtype,
        }
    }
}

/// Folds `gamma (conv(x) - mean) / sqrt(variance + eps) + beta` into one convolution with bias.
fn fold(conv: Kernel, norm: Normalization, stride: usize, groups: usize, dtype: DType) -> Conv {
    let weight = to_f32(conv.weight);
    let channels = weight.dims()[0];
    let scale = to_f32(norm.weight) / (to_f32(norm.running_var) + EPSILON).sqrt();
    let bias = to_f32(norm.bias) - to_f32(norm.running_mean) * scale.clone();
    let weight = weight * scale.reshape([channels, 1, 1, 1]);
    Conv { weight: weight.cast(dtype), bias: bias.cast(dtype), stride, groups }
}
