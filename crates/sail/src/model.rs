//! Two towers and a head as one model.

mod dense;
mod embedder;
mod encode;
mod error;
mod lazy;
mod open;
mod pair;
mod patch_cache;
mod segment;
mod zero_shot;

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use sail_core::{AlignmentHead, HeadError, RgbImage, Side, TextTower, VisionTower, ensure};
use sail_layers::Head;

pub use dense::DenseTower;
pub use error::SailError;
pub use lazy::LazyModel;
pub use open::BackboneOptions;
pub(crate) use open::open_vision_blocks;
pub use pair::{Pair, PairSide};
pub use segment::{SegmentOptions, Segmenter};
pub use zero_shot::{Prediction, ZeroShotClassifier};

/// Default batch size of the backbones.
const BATCH: usize = 32;

/// A vision tower, a text tower and the head that aligns them: embeds images and texts as unit vectors of one space.
///
/// The encoders may be of any type that implements the traits of [`sail_core`], and the head any [`AlignmentHead`]. The
/// towers and the head may be on different devices; results are on the device of the head. Clones share all weights.
///
/// # Examples
/// A model with two minimal encoders, the mean color of an image and a vocabulary of three color words:
/// ```
/// use std::sync::Arc;
/// use sail_vl::SailModel;
/// use sail_vl::burn::tensor::{Device, Tensor};
/// use sail_vl::core::*;
/// use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
///
/// struct MeanColor;
/// impl ImagePreprocessor for MeanColor {
///     fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
///         let channel = |c| image.pixels().map(move |pixel| f32::from(pixel.0[c]) / 255.0);
///         let size = [image.height() as usize, image.width() as usize];
///         Ok(Pixels { size, values: (0..3).flat_map(channel).collect() })
///     }
///     fn describe(&self) -> String {
///         "rgb / 255".into()
///     }
/// }
/// impl ImageEncoder for MeanColor {
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
///     encoder: Arc::new(MeanColor),
///     preprocessor: Arc::new(MeanColor),
///     pooling: ImagePooling::Pooled,
///     model: Provenance::new("mean-color"),
///     device: device.clone(),
/// };
/// let text = TextTower {
///     encoder: Arc::new(Words),
///     tokenizer: Arc::new(Words),
///     pooling: TextPooling::Mean,
///     model: Provenance::new("color-words"),
///     device: device.clone(),
/// };
/// // These features are aligned already. Other encoders need a trained head.
/// let head = Head::new(&HeadConfig::new(3, 3, 3, ProjectorConfig::Identity {}), 0, &device)?;
///
/// let model = SailModel::new(vision, text, head)?;
/// let blue = RgbImage::from_raw(1, 2, vec![0, 0, 255, 0, 0, 255]).ok_or("expected 6 values")?;
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
    /// Combines two towers and a head.
    ///
    /// A head is only valid for the features that it was trained on, so the provenance recorded in the head is compared
    /// with that of the towers. Dimensions are checked when the first input is encoded.
    ///
    /// # Errors
    /// Returns [`HeadError::Provenance`] if the head was trained on another model or with other settings.
    pub fn new(vision: VisionTower, text: TextTower, head: H) -> Result<Self, HeadError> {
        for (side, found) in [(Side::Image, vision.provenance()), (Side::Text, text.provenance())] {
            head.accepts_provenance(side, &found)?;
        }
        Ok(Self { vision, text, head: head.valid(), batch: BATCH })
    }

    /// Sets the batch size of the backbones, 32 by default. It affects memory and throughput, not results.
    ///
    /// # Errors
    /// Returns [`SailError::Config`] if `batch` is 0.
    pub fn with_batch(self, batch: usize) -> Result<Self, SailError> {
        ensure(batch > 0, "batch", batch, "at least 1")?;
        Ok(Self { batch, ..self })
    }

    /// Returns the vision tower.
    pub fn vision(&self) -> &VisionTower {
        &self.vision
    }

    /// Returns the text tower.
    pub fn text(&self) -> &TextTower {
        &self.text
    }

    /// Returns the head in inference mode, without dropout and autodiff.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// Embeds images in batches. The images may differ in size. Preprocessing runs in parallel on all cores.
    ///
    /// # Shapes
    /// - result: `[images.len(), dim]`, rows of unit length, on the head's device
    ///
    /// # Errors
    /// Returns [`SailError::Empty`] if `images` is empty, [`SailError::Tower`] if the tower cannot embed an image,
    /// [`SailError::Head`] if the head does not accept the features, and [`SailError::Direction`] if an embedding is
    /// all zeros or not finite.
    ///
    /// # Examples
    /// ```
    /// use sail_vl::burn::tensor::Tensor;
    /// use sail_vl::core::RgbImage;
    /// use sail_vl::{SailError, SailModel};
    ///
    /// /// Cosine similarities between all photos.
    /// fn pairwise(model: &SailModel, photos: &[RgbImage]) -> Result<Tensor<2>, SailError> {
    ///     let photos = model.encode_images(photos)?;
    ///     Ok(photos.clone().matmul(photos.transpose()))
    /// }
    /// ```
    pub fn encode_images(&self, images: &[RgbImage]) -> Result<Tensor<2>, SailError> {
        encode::encode_images(&self.vision, &self.head, self.batch, images)
    }

    /// Embeds texts in batches. Texts of similar length share a batch, which reduces padding.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]` in the order of `texts`, rows of unit length, on the head's device
    ///
    /// # Errors
    /// The same as [`encode_images`](Self::encode_images).
    ///
    /// # Examples
    /// ```
    /// use sail_vl::{SailError, SailModel};
    ///
    /// /// The embedding of a sentence as a vector, for an index or a database.
    /// fn embed(model: &SailModel, sentence: &str) -> Result<Vec<f32>, SailError> {
    ///     Ok(model.encode_texts(&[sentence])?.try_into_vec_as::<f32>()?)
    /// }
    /// ```
    pub fn encode_texts(&self, texts: &[impl AsRef<str>]) -> Result<Tensor<2>, SailError> {
        encode::encode_texts(&self.text, &self.head, self.batch, texts)
    }

    /// Returns the cosine similarity of every image and every text.
    ///
    /// # Shapes
    /// - result: `[images.len(), texts.len()]`, in -1 to 1 up to rounding, on the head's device
    ///
    /// # Errors
    /// The same as [`encode_images`](Self::encode_images).
    ///
    /// # Examples
    /// ```
    /// use sail_vl::core::RgbImage;
    /// use sail_vl::{SailError, SailModel};
    ///
    /// /// Whether the model considers the caption a match.
    /// fn matches(model: &SailModel, photo: RgbImage, caption: &str) -> Result<bool, SailError> {
    ///     let cosines = model.similarity(&[photo], &[caption])?;
    ///     let probability: f32 = model.probabilities(cosines).into_scalar();
    ///     Ok(probability > 0.5)
    /// }
    /// ```
    pub fn similarity(&self, images: &[RgbImage], texts: &[impl AsRef<str>]) -> Result<Tensor<2>, SailError> {
        Ok(self.encode_images(images)?.matmul(self.encode_texts(texts)?.transpose()))
    }

    /// Returns the match probability of each image and text, `sigmoid(exp(log_scale) * cos + bias)`.
    ///
    /// This requires a head trained with the sigmoid loss, because other losses do not train the bias.
    ///
    /// # Shapes
    /// - cosines: `[images, texts]`, from [`similarity`](Self::similarity)
    /// - result: `[images, texts]`, in 0 to 1, on the head's device
    pub fn probabilities(&self, cosines: Tensor<2>) -> Tensor<2> {
        let (scale, bias) = (self.head.log_scale().exp(), self.head.bias());
        sigmoid(cosines.to_device(&scale.device()) * scale.unsqueeze() + bias.unsqueeze())
    }
}
