//! Vision Transformers: DINOv2 with and without registers, and the plain ViT of DINO.

mod block;
mod checkpoint;
mod config;
mod dense;
mod positions;

use burn::nn::LayerNorm;
use burn::tensor::{DType, Device, FloatDType, Tensor, activation};
use sail_core::{Attention, DenseOptions, EncodeError, ImageEncoder, ImageFeatures, Layer, PatchTokens};
use serde_json::Value;

use self::block::Block;
use self::checkpoint::Checkpoint;
use self::config::Architecture;
use self::dense::Dense;
use crate::pretrained::{ModelError, Weights};

/// A Vision Transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) as DINO (2104.14294), DINOv2 (2304.07193) and
/// DINOv2 with registers (2309.16588) use it.
///
/// Images of any size whose sides are multiples of the patch size are taken; position embeddings are resized to
/// their grid as the reference does. Class token and patch tokens are given after the final layer norm, patches
/// without registers, the pooled output (`tanh` of a linear layer on the class token) where a plain ViT's weights
/// have one.
pub(super) struct VisionTransformer {
    model: Architecture,
    precision: FloatDType,
    /// Class token with its position, then the registers, `[1 + registers, hidden]`.
    prefix: Tensor<2>,
    /// Positions of the trained grid, `[grid * grid, hidden]`, in 32-bit floats.
    positions: Tensor<2>,
    /// From the pixels of a patch, channel by channel, to its token.
    projection: Dense,
    blocks: Vec<Block>,
    norm: LayerNorm,
    pooler: Option<Dense>,
}

impl VisionTransformer {
    pub(super) fn dinov2(
        config: &Value,
        registers: bool,
        weights: &Weights,
        precision: FloatDType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let model = Architecture::dinov2(config, registers)?;
        Ok(Checkpoint::read(&model, weights, device)?.fuse(model, precision))
    }

    pub(super) fn vit(
        config: &Value,
        weights: &Weights,
        precision: FloatDType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let has_pooler = weights.names().any(|name| name.ends_with("pooler.dense.weight"));
        let model = Architecture::vit(config, has_pooler)?;
        Ok(Checkpoint::read(&model, weights, device)?.fuse(model, precision))
    }

    /// The patches of the images as tokens with their positions, and the grid they lie on.
    ///
    /// # Shapes
    /// - result: `[batch, rows * columns, hidden]`
    fn embed(&self, pixels: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let [batch, channels, height, width] = pixels.dims();
        let patch = self.model.patch;
        let grid @ [rows, columns] = [height / patch, width / patch];
        let patches =
            pixels.reshape([batch, channels, rows, patch, columns, patch]).permute([0, 2, 4, 1, 3, 5]);
        let patches = patches.reshape([batch * rows * columns, channels * patch * patch]);
        let tokens = self.projection.forward(patches).reshape([batch, rows * columns, self.model.hidden]);
        let positions =
            positions::resize(self.positions.clone(), self.model.grid, grid, self.model.antialias);
        (tokens + positions.cast(self.precision).unsqueeze(), grid)
    }

    /// The blocks to run for these features.
    fn blocks_of(&self, options: DenseOptions) -> Result<&[Block], EncodeError> {
        let layers = self.blocks.len();
        let run = match options.layer {
            Layer::Last => Some(layers),
            Layer::FromEnd(n) => (layers + 1).checked_sub(n).filter(|run| *run <= layers),
        };
        // Embeddings come before all attention.
        let attends = |run: &usize| *run > 0 || options.attention == Attention::Standard;
        run.filter(attends).and_then(|run| self.blocks.get(..run)).ok_or_else(|| EncodeError::Dense {
            asked: options,
            expected: format!(
                "the last layer or -1 to -{}, the embeddings, which have no attention",
                layers + 1
            ),
        })
    }
}

impl ImageEncoder for VisionTransformer {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.encode_dense(pixels, DenseOptions::default())
    }

    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        let blocks = self.blocks_of(options)?;
        let [batch, channels, height, width] = pixels.dims();
        let (patch, hidden) = (self.model.patch, self.model.hidden);
        let fits = |side: usize| side > 0 && side.is_multiple_of(patch);
        if batch == 0 || channels != 3 || !fits(height) || !fits(width) {
            return Err(EncodeError::Shape {
                what: "pixels",
                found: vec![batch, channels, height, width],
                expected: format!("[batch, 3, height, width] with sides that are multiples of {patch}"),
            });
        }
        let (patches, grid) = self.embed(pixels.cast(self.precision));
        let (before, count) = (self.prefix.dims()[0], grid[0] * grid[1]);
        let prefix = self.prefix.clone().unsqueeze::<3>().expand([batch, before, hidden]);
        let rows = batch * (before + count);
        let mut x = Tensor::cat(vec![prefix, patches], 1).reshape([rows, hidden]);
        for (number, block) in blocks.iter().enumerate() {
            x = match options.attention {
                Attention::QueryQuery if number + 1 == blocks.len() => block.forward_query_query(x, batch),
                _ => block.forward(x, batch),
            };
        }
        if options.layer == Layer::Last {
            x = self.norm.forward(x);
        }
        let x = x.reshape([batch, before + count, hidden]);
        let class = x.clone().narrow(1, 0, 1).reshape([batch, hidden]);
        let pooler = self.pooler.as_ref().filter(|_| options == DenseOptions::default());
        let pooled = pooler.map(|pooler| activation::tanh(pooler.forward(class.clone())));
        Ok(ImageFeatures {
            class_token: Some(class.cast(DType::F32)),
            patches: Some(PatchTokens { tokens: x.narrow(1, before, count).cast(DType::F32), grid }),
            pooled: pooled.map(|pooled| pooled.cast(DType::F32)),
        })
    }
}
