//! The forward pass of vision transformers.

mod head;
mod positions;
mod rotary;
mod tail;

use burn::tensor::{DType, Tensor};
use sail_core::{Attention, DenseOptions, EncodeError, ImageEncoder, ImageFeatures, Layer, PatchTokens};
use sail_support::cpu::concurrent_map;

use self::head::Head;
use self::positions::Positions;
pub(crate) use self::tail::{TailConfig, VisionTail};
use super::Placement;
use super::layers::Layers;
use super::micro_batch;
use super::taken::{Taken, depth};
use crate::blocks::{Attend, Linear, Norm};
use crate::families::Plan;
use crate::pretrained::{Checkpoint, ModelError, Weights};
use crate::spec::{BlockSpec, NormScope, PatchOrder, VisionPositions, VisionSpec};

/// Patches of an image of 224 pixels with a patch of 14, to estimate memory if no size is known.
const PATCHES: usize = 256;

/// A vision transformer (arXiv 2010.11929) with the options of a [`VisionSpec`].
///
/// Images may have any size whose sides are multiples of the patch size, unless the positions are fixed. Class token and
/// patch tokens are taken after the final norm, as far as it applies to them; registers are no output.
pub(crate) struct VisionTrunk {
    spec: VisionSpec,
    dtype: DType,
    patch: Linear,
    patch_norm: Option<Norm>,
    /// Class tokens and registers with their positions, `[prefix, width]`.
    prefix: Option<Tensor<2>>,
    positions: Positions,
    pre_norm: Option<Norm>,
    layers: Layers,
    final_norm: Option<Norm>,
    head: Option<Head>,
    projection: Option<Linear>,
}

impl VisionTrunk {
    /// Loads the weights that a plan names, block by block, so that the peak of memory is one model and one block. Blocks that
    /// exceed the memory are read for every pass.
    ///
    /// # Errors
    /// Returns [`ModelError::Tensors`] if the checkpoint does not have exactly the tensors of the specification, and
    /// [`ModelError::Option`] if the memory is too small for two blocks, or the blocks cannot be quantized.
    pub(crate) fn load(
        plan: Plan<VisionSpec>,
        checkpoint: &Checkpoint,
        placement: &Placement,
    ) -> Result<Self, ModelError> {
        let map = plan.map;
        Self::load_with(plan, checkpoint, placement, |weights, specs| {
            Layers::load(weights, specs, (checkpoint, &map), placement)
        })
    }

    /// Loads the weights, those of the blocks with `blocks`.
    fn load_with(
        Plan { spec, map }: Plan<VisionSpec>,
        checkpoint: &Checkpoint,
        placement: &Placement,
        blocks: impl FnOnce(&mut Weights, &[BlockSpec]) -> Result<Layers, ModelError>,
    ) -> Result<Self, ModelError> {
        let dtype = placement.dtype;
        let mut weights = checkpoint.weights(&map, dtype, &placement.device);
        let width = spec.width;
        let norm = |weights: &mut Weights, name, norm| Norm::load(weights, name, width, norm).cast(dtype);
        let patch = patch_embedding(&mut weights, &spec).cast(dtype);
        let patch_norm = spec.patch_norm.map(|spec| norm(&mut weights, "patch_norm", spec));
        let positions = Positions::load(&mut weights, &spec);
        let prefix = prefix(&mut weights, &spec, &positions);
        let pre_norm = spec.pre_norm.map(|spec| norm(&mut weights, "pre_norm", spec));
        let layers = blocks(&mut weights, &spec.blocks)?;
        let final_norm = spec.final_norm.map(|spec| norm(&mut weights, "norm", spec));
        let head = spec.head.as_ref().map(|head| Head::load(&mut weights, head, width));
        let projection = spec
            .projection
            .map(|size| Linear::load(&mut weights, "projection", [width, size], spec.projection_bias));
        weights.finish()?;
        Ok(Self {
            prefix: prefix.map(|tokens| tokens.cast(dtype)),
            head: head.map(|head| head.fuse(dtype)),
            projection: projection.map(|projection| projection.cast(dtype)),
            spec,
            dtype,
            patch,
            patch_norm,
            positions,
            pre_norm,
            layers,
            final_norm,
        })
    }

    /// Returns the number of tokens of an image.
    fn tokens(&self, [rows, columns]: [usize; 2]) -> usize {
        self.spec.class_tokens + self.spec.registers + rows * columns
    }

    /// Returns the number of blocks to run for these features.
    fn depth(&self, options: DenseOptions) -> Result<usize, EncodeError> {
        let layers = self.layers.len();
        // The embeddings come before the first attention.
        let attends = |depth: &usize| *depth > 0 || options.attention == Attention::Standard;
        depth(options.layer, layers).filter(attends).ok_or_else(|| EncodeError::Dense {
            requested: options,
            expected: format!("the last layer, or -1 to -{}, of which the last has no attention", layers + 1),
        })
    }

    /// Returns the grid of patches of images of this shape.
    fn grid(&self, shape: [usize; 4]) -> Result<[usize; 2], EncodeError> {
        let [batch, channels, height, width] = shape;
        let patch = self.spec.patch;
        let fits = |side: usize| side > 0 && side.is_multiple_of(patch);
        let grid = [height / patch, width / patch];
        let error = |sides: String| EncodeError::Shape {
            what: "pixels",
            found: shape.to_vec(),
            expected: format!("[batch, 3, height, width] with sides {sides}"),
        };
        if batch == 0 || channels != 3 || !fits(height) || !fits(width) {
            return Err(error(format!("that are multiples of {patch}")));
        }
        match self.positions.fixed_grid() {
            Some(fixed @ [rows, columns]) if fixed != grid => {
                Err(error(format!("{} and {}, the only ones of this model", rows * patch, columns * patch)))
            }
            _ => Ok(grid),
        }
    }

    /// Returns the states before the first block: class tokens and registers, and the patches with their positions.
    ///
    /// # Shapes
    /// - result: `[batch * tokens, width]`
    fn embed(&self, pixels: Tensor<4>, grid: [usize; 2]) -> Tensor<2> {
        let mut x = self.embed_patches(pixels.cast(self.dtype), grid);
        let [batch, _, width] = x.dims();
        if let Some(prefix) = &self.prefix {
            let prefix = prefix.clone().unsqueeze::<3>();
            let [_, count, _] = prefix.dims();
            x = Tensor::cat(vec![prefix.expand([batch, count, width]), x], 1);
        }
        let [_, tokens, _] = x.dims();
        normalized(self.pre_norm.as_ref(), x.reshape([batch * tokens, width]))
    }

    /// # Shapes
    /// - result: `[batch, rows * columns, width]`
    fn embed_patches(&self, pixels: Tensor<4>, grid @ [rows, columns]: [usize; 2]) -> Tensor<3> {
        let [batch, channels, ..] = pixels.dims();
        let patch = self.spec.patch;
        let patches = pixels.reshape([batch, channels, rows, patch, columns, patch]);
        let patches = match self.spec.patch_order {
            PatchOrder::ChannelFirst => patches.permute([0, 2, 4, 1, 3, 5]),
            PatchOrder::ChannelLast => patches.permute([0, 2, 4, 3, 5, 1]),
        };
        let patches = patches.reshape([batch * rows * columns, channels * patch * patch]);
        let tokens = normalized(self.patch_norm.as_ref(), self.patch.forward(patches));
        let tokens = tokens.reshape([batch, rows * columns, self.spec.width]);
        match self.positions.of_grid(grid) {
            Some(positions) => tokens + positions.cast(self.dtype).unsqueeze(),
            None => tokens,
        }
    }

    /// Returns the outputs for the tokens of the last block that was run.
    ///
    /// # Shapes
    /// - x: `[batch * tokens, width]`
    fn outputs(&self, x: Tensor<2>, grid: [usize; 2], options: DenseOptions) -> ImageFeatures {
        let ([rows, width], tokens) = (x.dims(), self.tokens(grid));
        let (batch, count) = (rows / tokens, grid[0] * grid[1]);
        let norm = |scope| {
            let applies = options.layer == Layer::Last && self.spec.norm_scope == scope;
            self.final_norm.as_ref().filter(|_| applies)
        };
        let x = normalized(norm(NormScope::All), x).reshape([batch, tokens, width]);
        let class = match self.spec.class_tokens {
            0 => None,
            1 => Some(x.clone().narrow(1, 0, 1)),
            several => Some(x.clone().narrow(1, 0, several).mean_dim(1)),
        };
        let class = class.map(|x| normalized(norm(NormScope::ClassToken), x.reshape([batch, width])));
        let patches = x.clone().narrow(1, tokens - count, count);
        let head = self.head.as_ref().filter(|_| options == DenseOptions::default());
        let pooled = head.and_then(|head| match head {
            Head::ClassToken => class.clone(),
            Head::PatchMean => {
                let mean = patches.clone().mean_dim(1).reshape([batch, width]);
                Some(normalized(norm(NormScope::PatchMean), mean))
            }
            Head::Tanh(linear) => class.clone().map(|class| linear.forward(class).tanh()),
            Head::Map(map) => Some(map.forward(x.clone(), count)),
        });
        let pooled = pooled.map(|pooled| match &self.projection {
            Some(projection) => projection.forward(pooled),
            None => pooled,
        });
        ImageFeatures {
            class_token: class.map(|class| class.cast(DType::F32)),
            patches: Some(PatchTokens { tokens: patches.cast(DType::F32), grid }),
            pooled: pooled.map(|pooled| pooled.cast(DType::F32)),
        }
    }
}

/// A micro-batch on its way through the blocks.
#[derive(Clone)]
struct Pass {
    /// `[batch * tokens, width]`
    states: Tensor<2>,
    taken: Taken,
}

impl VisionTrunk {
    /// Returns the features of several layers; `attention` is that of the last block that is run.
    fn encode(
        &self,
        pixels: Tensor<4>,
        layers: &[Layer],
        attention: Attention,
    ) -> Result<Vec<ImageFeatures>, EncodeError> {
        let options = |layer: &Layer| DenseOptions { layer: *layer, attention };
        let depths = layers.iter().map(|layer| self.depth(options(layer))).collect::<Result<Vec<_>, _>>()?;
        let last = depths.iter().copied().max().unwrap_or(0);
        let grid = self.grid(pixels.dims())?;
        let (device, tokens) = (pixels.device(), self.tokens(grid));
        let attend = Attend { rotary: rotary::of_grid(&self.spec, grid, &device), ..Attend::default() };
        let batches = micro_batch::split(pixels, &device);
        let passes = concurrent_map(&device, &batches, |batch| {
            let states = self.embed(batch.clone(), grid);
            let taken = Taken::default().keep(0, &depths, &states);
            Ok::<_, EncodeError>(Pass { states, taken })
        })?;
        let passes = self.layers.apply(passes, last, &device, |index, block, Pass { states, taken }| {
            let batch = states.dims()[0] / tokens;
            let states = match attention {
                Attention::QueryQuery if index + 1 == last => {
                    block.forward_query_query(states, batch, &attend)
                }
                _ => block.forward(states, batch, &attend),
            };
            Pass { taken: taken.keep(index + 1, &depths, &states), states }
        })?;
        let of_layer = |(layer, depth): (&Layer, &usize)| {
            let outputs = concurrent_map(&device, &passes, |pass| {
                // Every depth was passed.
                let states = pass.taken.get(*depth).unwrap_or(&pass.states);
                Ok::<_, EncodeError>(self.outputs(states.clone(), grid, options(layer)))
            })?;
            Ok(micro_batch::concatenate(outputs))
        };
        layers.iter().zip(&depths).map(of_layer).collect()
    }
}

impl ImageEncoder for VisionTrunk {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.encode_dense(pixels, DenseOptions::default())
    }

    fn encode_dense(&self, pixels: Tensor<4>, options: DenseOptions) -> Result<ImageFeatures, EncodeError> {
        let mut features = self.encode(pixels, &[options.layer], options.attention)?;
        features
            .pop()
            .ok_or_else(|| EncodeError::Dense { requested: options, expected: "a layer".to_owned() })
    }

    fn encode_layers(&self, pixels: Tensor<4>, layers: &[Layer]) -> Result<Vec<ImageFeatures>, EncodeError> {
        self.encode(pixels, layers, Attention::Standard)
    }

    fn preferred_rows(&self) -> Option<usize> {
        let grid = match self.spec.positions {
            VisionPositions::Table { grid, .. } => grid,
            _ => [PATCHES, 1],
        };
        self.layers.preferred_rows(self.tokens(grid), self.spec.width)
    }
}

fn normalized<const D: usize>(norm: Option<&Norm>, x: Tensor<D>) -> Tensor<D> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

/// Takes the patch embedding. A convolution whose stride is its kernel size is a linear layer on patches.
fn patch_embedding(weights: &mut Weights, spec: &VisionSpec) -> Linear {
    let (width, patch) = (spec.width, spec.patch);
    match spec.patch_order {
        PatchOrder::ChannelFirst => {
            let kernel = weights.take("patch.weight", [width, 3, patch, patch]);
            let bias = spec.patch_bias.then(|| weights.take("patch.bias", [width]));
            Linear::new(kernel.flatten::<2>(1, 3).transpose(), bias)
        }
        PatchOrder::ChannelLast => {
            Linear::load(weights, "patch", [3 * patch * patch, width], spec.patch_bias)
        }
    }
}

/// Takes class tokens and registers, and adds the positions of the first of them, in `f32`.
fn prefix(weights: &mut Weights, spec: &VisionSpec, positions: &Positions) -> Option<Tensor<2>> {
    let mut take = |name, count| {
        let tokens = (count > 0).then(|| weights.take(name, [count, spec.width]));
        tokens.map(|tokens| tokens.cast(DType::F32))
    };
    let tokens = [take("class_token", spec.class_tokens), take("registers", spec.registers)];
    let tokens: Vec<_> = tokens.into_iter().flatten().collect();
    if tokens.is_empty() || weights.check().is_err() {
        return None;
    }
    let tokens = Tensor::cat(tokens, 0);
    let Some(positions) = positions.of_prefix() else { return Some(tokens) };
    let ([count, _], [positioned, _]) = (tokens.dims(), positions.dims());
    let first = tokens.clone().narrow(0, 0, positioned) + positions;
    if positioned == count {
        return Some(first);
    }
    Some(Tensor::cat(vec![first, tokens.narrow(0, positioned, count - positioned)], 0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::{Device, Distribution};
    use serde_json::Value;

    use super::*;
    use crate::families::{self, Source, VisionSide};

    #[test]
    fn streamed_blocks_give_the_same_features() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision/dinov2");
        let config: Value =
            serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        let checkpoint = Checkpoint::open(&folder.join("model.safetensors")).unwrap();
        let device = Device::flex();
        let plan = || match families::vision(&config).unwrap() {
            VisionSide::Transformer(plan) => {
                plan(&Source { config: &config, checkpoint: &checkpoint }).unwrap()
            }
            VisionSide::Convolutional(_) => panic!("not a transformer"),
        };
        let block = 4 * plan().spec.blocks[0].parameters();
        let load = |memory| {
            let placement = Placement { memory, ..Placement::new(DType::F32, &device) };
            VisionTrunk::load(plan(), &checkpoint, &placement)
        };
        let (resident, streamed) = (load(None).unwrap(), load(Some(3 * block)).unwrap());
        assert_eq!(resident.preferred_rows(), None);
        assert!(streamed.preferred_rows().is_some());
        let pixels = Tensor::random([5, 3, 20, 15], Distribution::Default, &device);
        for layer in [Layer::Last, Layer::FromEnd(2)] {
            let options = DenseOptions { layer, ..DenseOptions::default() };
            let patches = |encoder: &VisionTrunk| {
                encoder.encode_dense(pixels.clone(), options).unwrap().patches.unwrap().tokens.into_data()
            };
            assert_eq!(patches(&resident), patches(&streamed));
        }
        assert!(matches!(load(Some(block)), Err(ModelError::Option(_))));
    }
}
