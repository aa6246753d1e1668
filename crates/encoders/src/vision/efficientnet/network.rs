//! The forward pass of EfficientNet-Lite.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor, module};
use sail_core::{EncodeError, ImageEncoder, ImageFeatures, PatchTokens};

/// EfficientNet-Lite0 to Lite4: EfficientNet (Tan and Le 2019, arXiv 1905.11946) without squeeze-and-excitation and with
/// ReLU6 instead of Swish.
///
/// Supports images of any size, with TensorFlow's `SAME` padding. The patch tokens are the last feature map, one per 32 x 32
/// pixels; their mean is the pooled output. There is no class token.
pub(in crate::vision) struct EfficientNetLite {
    pub(super) stem: Conv,
    pub(super) blocks: Vec<Block>,
    pub(super) head: Conv,
    pub(super) dtype: DType,
}

/// An inverted bottleneck: expansion, depthwise convolution, projection.
pub(super) struct Block {
    pub(super) expand: Option<Conv>,
    pub(super) depthwise: Conv,
    pub(super) project: Conv,
    pub(super) skip: bool,
}

/// A convolution with folded batch norm.
pub(super) struct Conv {
    pub(super) weight: Tensor<4>,
    pub(super) bias: Tensor<1>,
    pub(super) stride: usize,
    pub(super) groups: usize,
}

impl ImageEncoder for EfficientNetLite {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let found = pixels.dims();
        if found[1] != 3 || found.contains(&0) {
            let expected = "[batch, 3, height, width], all positive".to_owned();
            return Err(EncodeError::Shape { what: "pixels", found: found.to_vec(), expected });
        }
        let mut x = relu6(self.stem.forward(pixels.cast(self.dtype)));
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

/// Returns the `SAME` padding before and after a side, which makes the output `ceil(side / stride)`.
fn same_padding(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let covered = (side.div_ceil(stride) - 1) * stride + kernel;
    let padding = covered.saturating_sub(side);
    (padding / 2, padding - padding / 2)
}

fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}
