//! Aligned features of every patch.

use std::path::PathBuf;

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use sail_core::{
    AlignmentHead, DenseOptions, Dtype, HeadError, InputError, PatchTokens, Pixels, RgbImage, Side,
    TowerError, VisionTower, ensure,
};
use sail_eval::LogitMap;
use sail_layers::Head;

use super::patch_cache::PatchCache;
use super::{BATCH, SailError, SailModel};

/// A vision tower and the image side of a head: images in, an aligned feature of every patch out.
///
/// Each patch becomes what the head was trained on: the patch beside the class token under `concat` pooling, the patch
/// alone under `patch-mean`, and under `pooled` where the pooled output is the mean of the patches
/// ([`ImagePooling::dense`](sail_core::ImagePooling::dense)). Layer and attention are those of [`DenseOptions`]; the
/// default, the last layer after its norm, is what the head was trained on.
///
/// # Examples
/// The vision tower of a multimodal language model in the manner of LLaVA, which takes the patches of layer -2:
/// ```
/// use sail_vl::burn::tensor::Tensor;
/// use sail_vl::core::{DenseOptions, Layer, RgbImage, VisionTower};
/// use sail_vl::layers::Head;
/// use sail_vl::{DenseTower, SailError};
///
/// /// Visual tokens for a language model's projector, `[batch, rows * columns, dim]`.
/// fn visual_tokens(vision: VisionTower, head: Head, photos: &[RgbImage]) -> Result<Tensor<3>, SailError> {
///     let options = DenseOptions { layer: Layer::FromEnd(2), ..DenseOptions::default() };
///     let tower = DenseTower::new(vision, head)?.with_options(options);
///     Ok(tower.encode(photos)?.flatten(1, 2))
/// }
/// ```
#[derive(Clone)]
pub struct DenseTower<H: AlignmentHead = Head> {
    vision: VisionTower,
    head: H,
    options: DenseOptions,
    grid: Option<[usize; 2]>,
    cache: Option<PatchCache>,
    batch: usize,
}

impl<H: AlignmentHead> SailModel<H> {
    /// The model's image side for dense features; it shares all weights.
    pub fn dense(&self) -> DenseTower<H> {
        DenseTower {
            vision: self.vision.clone(),
            head: self.head.clone(),
            options: DenseOptions::default(),
            grid: None,
            cache: None,
            batch: self.batch,
        }
    }
}

impl<H: AlignmentHead> DenseTower<H> {
    /// Joins a vision tower and a head; its text side is not used.
    ///
    /// # Errors
    /// [`HeadError::Provenance`] when the head was trained on another model, revision, preprocessing or pooling.
    pub fn new(vision: VisionTower, head: H) -> Result<Self, HeadError> {
        head.accepts_provenance(Side::Image, &vision.provenance())?;
        Ok(Self {
            vision,
            head: head.valid(),
            options: DenseOptions::default(),
            grid: None,
            cache: None,
            batch: BATCH,
        })
    }

    /// Sets layer and attention. A backbone that does not have them says so when it encodes.
    pub fn with_options(self, options: DenseOptions) -> Self {
        Self { options, ..self }
    }

    /// Sets the rows and columns of the result: features are interpolated to them bilinearly, as PyTorch's
    /// `interpolate` does without `align_corners`. Without it they are the backbone's own.
    ///
    /// # Errors
    /// [`SailError::Config`] for 0 rows or columns.
    pub fn with_grid(self, grid: [usize; 2]) -> Result<Self, SailError> {
        ensure(!grid.contains(&0), "grid", format!("{} x {}", grid[0], grid[1]), "at least 1 x 1")?;
        Ok(Self { grid: Some(grid), ..self })
    }

    /// Keeps the backbone's features of every image or window in a folder, which is made if it is not there, so that
    /// another head on the same images does without the backbone.
    ///
    /// A file, written whole or not at all, holds the features of one image, before the head; its name is a hash of the
    /// prepared pixels and of all else that decides them: model, weights, preprocessing, pooling, [`DenseOptions`] and the
    /// number type. A backbone of your own is known by what its provenance states, so it should state its weights. Results
    /// are the same whether features were kept or are new, as new ones are rounded to the number type too. A window of P
    /// patches takes `P * dim` numbers. Nothing is ever removed.
    ///
    /// # Errors
    /// [`SailError::PatchCache`] for a folder that cannot be made.
    pub fn with_cache(self, folder: impl Into<PathBuf>, dtype: Dtype) -> Result<Self, SailError> {
        Ok(Self { cache: Some(PatchCache::new(folder.into(), dtype)?), ..self })
    }

    /// Aligned features of the patches of images, prepared as for [`SailModel::encode_images`].
    ///
    /// # Shapes
    /// - result: `[images.len(), rows, columns, dim]`, not normalised, on the head's device
    ///
    /// # Errors
    /// [`SailError::Empty`] without images, [`SailError::Tower`] for one that the tower cannot encode, for images
    /// that are prepared to different sizes, and for a layer or pooling that the backbone cannot serve,
    /// [`SailError::Head`] for features that the head cannot take, and [`SailError::PatchCache`] for kept features that
    /// cannot be read or new ones that cannot be kept.
    pub fn encode(&self, images: &[RgbImage]) -> Result<Tensor<4>, SailError> {
        let preprocessor = &*self.vision.preprocessor;
        self.encode_with(images, |image| preprocessor.preprocess(image))
    }

    /// As [`encode`](Self::encode) at the size that the images have, the same for all: normalised, but neither resized
    /// nor cropped.
    ///
    /// # Shapes
    /// - result: `[images.len(), rows, columns, dim]`, not normalised, on the head's device
    ///
    /// # Errors
    /// As [`encode`](Self::encode); sides that the backbone does not take, such as no multiples of the patch size, are
    /// [`SailError::Tower`].
    pub fn encode_unresized(&self, images: &[RgbImage]) -> Result<Tensor<4>, SailError> {
        let preprocessor = &*self.vision.preprocessor;
        self.encode_with(images, |image| preprocessor.normalize(image))
    }

    fn encode_with(
        &self,
        images: &[RgbImage],
        prepare: impl Fn(&RgbImage) -> Result<Pixels, InputError> + Sync,
    ) -> Result<Tensor<4>, SailError> {
        if images.is_empty() {
            return Err(SailError::Empty { what: "image" });
        }
        let tower = |source| SailError::Tower { side: Side::Image, source };
        let prepare = |(row, image)| prepare(image).map_err(|source| TowerError::Input { row, source });
        let mut features: Vec<Tensor<4>> = Vec::with_capacity(images.len().div_ceil(self.batch));
        for images in images.chunks(self.batch) {
            let pixels = images.par_iter().enumerate().map(prepare).collect::<Result<Vec<_>, _>>();
            let pixels = pixels.map_err(tower)?;
            let patches = match &self.cache {
                Some(cache) => cache.embed(&self.vision, &pixels, self.options)?,
                None => self.vision.embed_patches(&pixels, self.options).map_err(tower)?,
            };
            let aligned = self.align(patches)?;
            features.push(match self.grid {
                Some(grid) => resized(aligned, grid)?,
                None => aligned,
            });
        }
        Ok(Tensor::cat(features, 0))
    }

    /// The head on every patch: `[batch, rows, columns, dim]`.
    fn align(&self, patches: PatchTokens) -> Result<Tensor<4>, HeadError> {
        let PatchTokens { tokens, grid: [rows, columns] } = patches;
        let [batch, count, dim] = tokens.dims();
        let features = tokens.reshape([batch * count, dim]).without_autodiff();
        let aligned = self.head.project_images(features.to_device(&self.head.log_scale().device()))?;
        let dim = aligned.dims()[1];
        Ok(aligned.reshape([batch, rows, columns, dim]))
    }
}

fn resized(features: Tensor<4>, grid @ [rows, columns]: [usize; 2]) -> Result<Tensor<4>, SailError> {
    let ([batch, from_rows, from_columns, dim], device) = (features.dims(), features.device());
    let mut values = Vec::with_capacity(batch * rows * columns * dim);
    for image in features.split(1, 0) {
        let image = image.try_into_vec_as::<f32>()?;
        let map = LogitMap::new([from_rows, from_columns], dim, image)?;
        values.extend_from_slice(map.resize(grid)?.values());
    }
    Ok(Tensor::from_data(TensorData::new(values, [batch, rows, columns, dim]), &device))
}
