//! The forward pass of a Vision Transformer.

use burn::nn::LayerNorm;
use burn::tensor::{DType, Tensor, activation};
use sail_core::{Attention, DenseOptions, EncodeError, ImageEncoder, ImageFeatures, Layer, PatchTokens};

use super::block::Block;
use super::config::Architecture;
use super::dense::Dense;
use super::positions;

/// A Vision Transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) as DINO (2104.14294), DINOv2 (2304.07193) and
/// DINOv2 with registers (2309.16588) use it.
///
/// Supports images of any size whose sides are multiples of the patch size; position embeddings are resized as in the
/// reference implementation. Class token and patch tokens are taken after the final layer norm, without registers. The
/// pooled output is `tanh` of a linear layer on the class token, if the weights of a plain ViT have one.
pub(in crate::vision) struct VisionTransformer {
    pub(super) architecture: Architecture,
    pub(super) dtype: DType,
    /// Class token with its position embedding, and registers, `[1 + registers, hidden]`.
    pub(super) prefix: Tensor<2>,
    /// Position embeddings of the trained grid, `[grid * grid, hidden]`, `f32`.
    pub(super) positions: Tensor<2>,
    /// Patch embedding; input in channel, row, column order.
    pub(super) projection: Dense,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: LayerNorm,
    pub(super) pooler: Option<Dense>,
}

impl VisionTransformer {
    /// Embeds the patches of images with their positions and returns the grid.
    ///
    /// # Shapes
    /// - result: `[batch, rows * columns, hidden]`
    fn embed(&self, pixels: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let [batch, channels, height, width] = pixels.dims();
        let patch = self.architecture.patch;
        let grid @ [rows, columns] = [height / patch, width / patch];
        let patches =
            pixels.reshape([batch, channels, rows, patch, columns, patch]).permute([0, 2, 4, 1, 3, 5]);
        let patches = patches.reshape([batch * rows * columns, channels * patch * patch]);
        let tokens =
            self.projection.forward(patches).reshape([batch, rows * columns, self.architecture.hidden]);
        let positions = positions::resize(
            self.positions.clone(),
            self.architecture.grid,
            grid,
            self.architecture.antialias,
        );
        (tokens + positions.cast(self.dtype).unsqueeze(), grid)
    }

    /// Returns the blocks to run for these features.
    fn blocks_for(&self, options: DenseOptions) -> Result<&[Block], EncodeError> {
        let layers = self.blocks.len();
        let run = match options.layer {
            Layer::Last => Some(layers),
            Layer::FromEnd(n) => (layers + 1).checked_sub(n).filter(|run| *run <= layers),
        };
        // The embeddings come before the first attention.
        let attends = |run: &usize| *run > 0 || options.attention == Attention::Standard;
        run.filter(attends).and_then(|run| self.blocks.get(..run)).ok_or_else(|| EncodeError::Dense {
            requested: options,
            expected: format!("the last layer, or -1 to -{}, of which the last has no attention", layers + 1),
        })
    }
}

impl ImageEncoder for VisionTransformer {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.encode_dense(pixels, DenseOptions::default())
    }

    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        let blocks = self.blocks_for(options)?;
        let [batch, channels, height, width] = pixels.dims();
        let (patch, hidden) = (self.architecture.patch, self.architecture.hidden);
        let fits = |side: usize| side > 0 && side.is_multiple_of(patch);
        if batch == 0 || channels != 3 || !fits(height) || !fits(width) {
            return Err(EncodeError::Shape {
                what: "pixels",
                found: vec![batch, channels, height, width],
                expected: format!("[batch, 3, height, width] with sides that are multiples of {patch}"),
            });
        }
        let (patches, grid) = self.embed(pixels.cast(self.dtype));
        let (before, count) = (self.prefix.dims()[0], grid[0] * grid[1]);
        let prefix = self.prefix.clone().unsqueeze::<3>().expand([batch, before, hidden]);
        let rows = batch * (before + count);
        let mut x = Tensor::cat(vec![prefix, patches], 1).reshape([rows, hidden]);
        for (index, block) in blocks.iter().enumerate() {
            x = match options.attention {
                Attention::QueryQuery if index + 1 == blocks.len() => block.forward_query_query(x, batch),
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
