//! Aligned features of image patches.

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

/// A vision tower and the image side of a head: computes an aligned feature for every patch of an image.
///
/// The features of a patch have the form that the head was trained on: class token and patch concatenated with `concat`
/// pooling, the patch alone with `patch-mean`, and also with `pooled` if the pooled output is the mean of the patches
/// ([`ImagePooling::dense`](sail_core::ImagePooling::dense)). A head that reads tokens gets all of them, at any size of images. [`DenseOptions`] selects the layer and the attention; the
/// default, the last layer after its norm, matches the training of the head.
///
/// # Examples
/// The vision tower of a multimodal language model like LLaVA, which uses the patches of layer -2:
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
    /// Returns the image side of the model for dense features. It shares all weights.
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
    /// Combines a vision tower and a head. The text side of the head is not used.
    ///
    /// # Errors
    /// Returns [`HeadError::Provenance`] if the head was trained on another model or with other settings.
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

    /// Sets layer and attention. Backbones that do not support them return an error from [`encode`](Self::encode).
    pub fn with_options(self, options: DenseOptions) -> Self {
        Self { options, ..self }
    }

    /// Sets the rows and columns of the result, by default those of the backbone. Features are interpolated bilinearly,
    /// like PyTorch's `interpolate` with `align_corners=False`.
    ///
    /// # Errors
    /// Returns [`SailError::Config`] for 0 rows or columns.
    pub fn with_grid(self, grid: [usize; 2]) -> Result<Self, SailError> {
        ensure(!grid.contains(&0), "grid", format!("{} x {}", grid[0], grid[1]), "at least 1 x 1")?;
        Ok(Self { grid: Some(grid), ..self })
    }

    /// Caches the backbone features of every image or window in a folder, which is created if it is missing. Another
    /// head can then use the same images without running the backbone.
    ///
    /// Each file, written atomically, contains the features of one image before the head, `dim` values per patch, and the
    /// class token if the head reads tokens. Its name is a hash of the preprocessed pixels, model, weights, preprocessing, pooling, [`DenseOptions`] and `dtype`.
    /// A custom backbone is identified by its provenance, which should therefore include the hash of its weights. New
    /// features are rounded to `dtype` as well, so results do not depend on whether they were cached. Files are never
    /// removed.
    ///
    /// # Errors
    /// Returns [`SailError::PatchCache`] if the folder cannot be created.
    pub fn with_cache(self, folder: impl Into<PathBuf>, dtype: Dtype) -> Result<Self, SailError> {
        Ok(Self { cache: Some(PatchCache::new(folder.into(), dtype)?), ..self })
    }

    /// Computes the aligned features of all patches. Images are preprocessed as by [`SailModel::encode_images`].
    ///
    /// # Shapes
    /// - result: `[images.len(), rows, columns, dim]`, not normalized, on the head's device
    ///
    /// # Errors
    /// Returns [`SailError::Empty`] if `images` is empty, [`SailError::Tower`] if the tower cannot encode an image, the
    /// preprocessed sizes differ, or the backbone does not support the layer, attention or pooling, [`SailError::Head`]
    /// if the head does not accept the features, and [`SailError::PatchCache`] if the cache cannot be read or written.
    pub fn encode(&self, images: &[RgbImage]) -> Result<Tensor<4>, SailError> {
        let preprocessor = &*self.vision.preprocessor;
        self.encode_with(images, |image| preprocessor.preprocess(image))
    }

    /// Like [`encode`](Self::encode), but normalizes the pixels without resizing or cropping the images. All images
    /// must have the same size.
    ///
    /// # Shapes
    /// - result: `[images.len(), rows, columns, dim]`, not normalized, on the head's device
    ///
    /// # Errors
    /// The same as [`encode`](Self::encode). Sizes that the backbone does not support, for example because they are not
    /// multiples of the patch size, are [`SailError::Tower`].
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

    /// Applies the head to every patch: `[batch, rows, columns, dim]`.
    fn align(&self, patches: PatchTokens) -> Result<Tensor<4>, HeadError> {
        let PatchTokens { tokens, grid: [rows, columns] } = patches;
        let tokens = tokens.without_autodiff().to_device(&self.head.log_scale().device());
        let aligned = self.head.project_patches(tokens)?;
        let [batch, _, dim] = aligned.dims();
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
