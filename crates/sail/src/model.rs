//! Two towers and a head as one value.

mod dense;
mod error;
mod open;
mod patch_cache;
mod segment;
mod zero_shot;

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use rayon::prelude::*;
use sail_core::{
    AlignmentHead, HeadError, RgbImage, Side, TextTower, TowerError, VisionTower, ensure, l2_normalize,
};
use sail_layers::Head;

pub use dense::DenseTower;
pub use error::SailError;
pub use segment::{SegmentOptions, Segmenter};
pub use zero_shot::{Prediction, ZeroShotClassifier};

/// Inputs that go through a backbone at once, where nothing else is said.
const BATCH: usize = 32;

/// A vision backbone, a text backbone and the head that aligns them: images and texts in, unit vectors of one space
/// out.
///
/// The towers are values of any type that implements the traits of [`sail_core`], the head is any
/// [`AlignmentHead`]. The towers and the head may be on different devices; results are on the head's. A clone shares
/// all weights.
///
/// # Examples
/// A model whose backbones are a few lines each: the mean colour of an image, and a table of colour words.
/// ```
/// use std::sync::Arc;
/// use sail_vl::SailModel;
/// use sail_vl::burn::tensor::{Device, Tensor};
/// use sail_vl::core::*;
/// use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
///
/// struct MeanColour;
/// impl ImagePreprocessor for MeanColour {
///     fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
///         let channel = |c| image.pixels().map(move |pixel| f32::from(pixel.0[c]) / 255.0);
///         let size = [image.height() as usize, image.width() as usize];
///         Ok(Pixels { size, values: (0..3).flat_map(channel).collect() })
///     }
///     fn describe(&self) -> String {
///         "rgb / 255".into()
///     }
/// }
/// impl ImageEncoder for MeanColour {
///     fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
///         let mean = pixels.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2);
///         Ok(ImageFeatures { class_token: None, patches: None, pooled: Some(mean) })
///     }
/// }
///
/// struct Words;
/// impl Tokenizer for Words {
///     fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
///         let id = |word| ["red", "green", "blue"].iter().position(|known| *known == word);
///         Ok(TokenIds(text.split(' ').map(|word| id(word).map_or(3, |id| id as u32)).collect()))
///     }
///     fn padding(&self) -> Padding {
///         Padding { id: 3, side: PaddingSide::Right }
///     }
///     fn describe(&self) -> String {
///         "three words".into()
///     }
/// }
/// impl TextEncoder for Words {
///     fn encode_texts(&self, texts: TokenBatch) -> Result<TextFeatures, EncodeError> {
///         let tokens = texts.ids.one_hot::<3>(4).float().narrow(2, 0, 3);
///         Ok(TextFeatures { tokens, mask: texts.mask, pooled: None })
///     }
/// }
///
/// let device = Device::flex();
/// let vision = VisionTower {
///     encoder: Arc::new(MeanColour),
///     preprocessor: Arc::new(MeanColour),
///     pooling: ImagePooling::Pooled,
///     model: Provenance::new("mean-colour"),
///     device: device.clone(),
/// };
/// let text = TextTower {
///     encoder: Arc::new(Words),
///     tokenizer: Arc::new(Words),
///     pooling: TextPooling::Mean,
///     model: Provenance::new("colour-words"),
///     device: device.clone(),
/// };
/// // These two agree as they are; others need a head that was trained.
/// let head = Head::new(&HeadConfig::new(3, 3, 3, ProjectorConfig::Identity {}), 0, &device)?;
///
/// let model = SailModel::new(vision, text, head)?;
/// let blue = RgbImage::from_raw(1, 2, vec![0, 0, 255, 0, 0, 255]).ok_or("six numbers")?;
/// let cosines = model.similarity(&[blue], &["a red square", "a blue square"])?;
/// assert_eq!(cosines.into_data().try_to_vec::<f32>()?, [0.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SailModel<H: AlignmentHead = Head> {
    vision: VisionTower,
    text: TextTower,
    head: H,
    batch: usize,
}

impl<H: AlignmentHead> SailModel<H> {
    /// Joins two towers and a head.
    ///
    /// A head means nothing with other features than those it was trained on. What it recorded of them is compared
    /// with what the towers state; their sizes are compared when the first features arrive.
    ///
    /// # Errors
    /// [`HeadError::Provenance`] when the head was trained on another model, revision, preprocessing or pooling.
    pub fn new(vision: VisionTower, text: TextTower, head: H) -> Result<Self, HeadError> {
        for (side, found) in [(Side::Image, vision.provenance()), (Side::Text, text.provenance())] {
            head.accepts_provenance(side, &found)?;
        }
        Ok(Self { vision, text, head: head.valid(), batch: BATCH })
    }

    /// Sets how many inputs go through a backbone at once, 32 where nothing is said. It changes memory and speed, not
    /// results.
    ///
    /// # Errors
    /// [`SailError::Config`] for 0.
    pub fn with_batch(self, batch: usize) -> Result<Self, SailError> {
        ensure(batch > 0, "batch", batch, "at least 1")?;
        Ok(Self { batch, ..self })
    }

    /// The vision tower.
    pub fn vision(&self) -> &VisionTower {
        &self.vision
    }

    /// The text tower.
    pub fn text(&self) -> &TextTower {
        &self.text
    }

    /// The head, without dropout or graph.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// Embeds images of any sizes, a batch at a time. Preprocessing runs on all cores.
    ///
    /// # Shapes
    /// - result: `[images.len(), dim]`, rows of unit length, on the head's device
    ///
    /// # Errors
    /// [`SailError::Empty`] without images, [`SailError::Tower`] for one that the tower cannot embed,
    /// [`SailError::Head`] for features that the head cannot take, and [`SailError::Direction`] for an embedding that
    /// is not finite or all zeros.
    ///
    /// # Examples
    /// ```
    /// use sail_vl::burn::tensor::Tensor;
    /// use sail_vl::core::RgbImage;
    /// use sail_vl::{SailError, SailModel};
    ///
    /// /// How much alike every two of the photos are.
    /// fn alike(model: &SailModel, photos: &[RgbImage]) -> Result<Tensor<2>, SailError> {
    ///     let photos = model.encode_images(photos)?;
    ///     Ok(photos.clone().matmul(photos.transpose()))
    /// }
    /// ```
    pub fn encode_images(&self, images: &[RgbImage]) -> Result<Tensor<2>, SailError> {
        if images.is_empty() {
            return Err(SailError::Empty { what: "image" });
        }
        let tower = |source| SailError::Tower { side: Side::Image, source };
        let preprocessor = &*self.vision.preprocessor;
        let mut embeddings = Vec::with_capacity(images.len().div_ceil(self.batch));
        for (batch, images) in images.chunks(self.batch).enumerate() {
            let first = batch * self.batch;
            let prepare = |(place, image)| {
                let input = |source| TowerError::Input { row: first + place, source };
                preprocessor.preprocess(image).map_err(input)
            };
            let pixels = images.par_iter().enumerate().map(prepare).collect::<Result<Vec<_>, _>>();
            // A backbone that takes any resolution may be given several; a batch has one.
            for pixels in pixels.map_err(tower)?.chunk_by(|a, b| a.size == b.size) {
                embeddings.push(self.align(Side::Image, self.vision.embed(pixels).map_err(tower)?)?);
            }
        }
        unit(Side::Image, Tensor::cat(embeddings, 0))
    }

    /// Embeds texts, a batch at a time. Texts of similar length share a batch, so that little of it is padding.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]` in the order of `texts`, rows of unit length, on the head's device
    ///
    /// # Errors
    /// As [`encode_images`](Self::encode_images).
    ///
    /// # Examples
    /// ```
    /// use sail_vl::{SailError, SailModel};
    ///
    /// /// The embedding of a sentence as plain numbers, for an index or a database.
    /// fn numbers(model: &SailModel, sentence: &str) -> Result<Vec<f32>, SailError> {
    ///     Ok(model.encode_texts(&[sentence])?.try_into_vec_as::<f32>()?)
    /// }
    /// ```
    pub fn encode_texts(&self, texts: &[impl AsRef<str>]) -> Result<Tensor<2>, SailError> {
        if texts.is_empty() {
            return Err(SailError::Empty { what: "text" });
        }
        let tower = |source| SailError::Tower { side: Side::Text, source };
        let tokenizer = &*self.text.tokenizer;
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let tokenize = |(row, text): (usize, &&str)| {
            tokenizer.tokenize(text).map_err(|source| TowerError::Input { row, source })
        };
        let tokens = texts.par_iter().enumerate().map(tokenize).collect::<Result<Vec<_>, _>>();
        let features = self.text.embed_bounded(&tokens.map_err(tower)?, self.batch).map_err(tower)?;
        let parts = features.split(self.batch, 0).into_iter();
        let embeddings = parts.map(|part| self.align(Side::Text, part)).collect::<Result<Vec<_>, _>>()?;
        unit(Side::Text, Tensor::cat(embeddings, 0))
    }

    /// The cosine of every image with every text.
    ///
    /// # Shapes
    /// - result: `[images.len(), texts.len()]`, in -1 to 1 up to rounding, on the head's device
    ///
    /// # Errors
    /// As [`encode_images`](Self::encode_images).
    ///
    /// # Examples
    /// ```
    /// use sail_vl::core::RgbImage;
    /// use sail_vl::{SailError, SailModel};
    ///
    /// /// Whether the photo shows what the caption says, in the judgement of the head.
    /// fn shows(model: &SailModel, photo: RgbImage, caption: &str) -> Result<bool, SailError> {
    ///     let cosines = model.similarity(&[photo], &[caption])?;
    ///     let probability: f32 = model.probabilities(cosines).into_scalar();
    ///     Ok(probability > 0.5)
    /// }
    /// ```
    pub fn similarity(&self, images: &[RgbImage], texts: &[impl AsRef<str>]) -> Result<Tensor<2>, SailError> {
        Ok(self.encode_images(images)?.matmul(self.encode_texts(texts)?.transpose()))
    }

    /// How probable it is that image and text belong together, by the scale and bias that the head learned with the
    /// sigmoid loss: `sigmoid(exp(log_scale) * cos + bias)`. Heads trained with another loss learn no such bias.
    ///
    /// # Shapes
    /// - cosines: `[images, texts]`, from [`similarity`](Self::similarity)
    /// - result: `[images, texts]`, in 0 to 1, on the head's device
    pub fn probabilities(&self, cosines: Tensor<2>) -> Tensor<2> {
        let (scale, bias) = (self.head.log_scale().exp(), self.head.bias());
        sigmoid(cosines.to_device(&scale.device()) * scale.unsqueeze() + bias.unsqueeze())
    }

    fn align(&self, side: Side, features: Tensor<2>) -> Result<Tensor<2>, HeadError> {
        let features = features.without_autodiff().to_device(&self.head.log_scale().device());
        match side {
            Side::Image => self.head.project_images(features),
            Side::Text => self.head.project_texts(features),
        }
    }
}

/// All rows at unit length. A row without a direction is named and not normalised into one.
fn unit(side: Side, rows: Tensor<2>) -> Result<Tensor<2>, SailError> {
    let norms = (rows.clone() * rows.clone()).sum_dim(1).sqrt().try_into_vec_as::<f32>()?;
    // Shorter rows than this are left short by the normalisation.
    match norms.iter().position(|norm| !(norm.is_finite() && *norm > 1e-12)) {
        Some(row) => Err(SailError::Direction { side, row, norm: norms[row] }),
        None => Ok(l2_normalize(rows)),
    }
}
