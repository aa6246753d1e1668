//! Segmentation by class names.

use std::path::PathBuf;

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, DenseOptions, Dtype, RgbImage, Side};
use sail_eval::{Decision, LabelMap, LogitMap, SegmentationError, SlidingWindow, Window, WindowSum};
use sail_layers::Head;

use super::dense::DenseTower;
use super::encode::unit;
use super::{SailError, SailModel};

/// Options of a [`Segmenter`]. The default is the sliding window of the paper, without a background threshold and with
/// the attention that the backbone was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SegmentOptions {
    /// Resizing and sliding window.
    pub sliding: SlidingWindow,
    /// Layer and attention of the patches.
    pub dense: DenseOptions,
    /// Pixels whose highest probability is below this threshold are assigned to class 0.
    pub background_threshold: Option<f32>,
}

/// Open-vocabulary segmentation (SAIL, arXiv 2412.04616, section 4.2), created by [`SailModel::segmenter`].
///
/// An image is resized and cropped into windows. The logit of a patch and a class is the cosine similarity of the
/// aligned patch and the class weight. Logits are upsampled bilinearly to the window, averaged where windows overlap,
/// and resized to the image; the class is the argmax. For the background threshold, probabilities are the softmax over
/// the classes of the logits times the head's `exp(log_scale)`.
#[derive(Clone)]
pub struct Segmenter<H: AlignmentHead = Head> {
    tower: DenseTower<H>,
    /// `[dim, classes]`
    weights: Tensor<2>,
    sliding: SlidingWindow,
    decision: Decision,
    batch: usize,
}

impl<H: AlignmentHead> SailModel<H> {
    /// Creates a segmenter for classes that are given by their names, one or several synonyms per class.
    ///
    /// The weight of a class is [`class_weights`](sail_eval::class_weights) over all its names in all templates, with
    /// the name in place of `{}`.
    ///
    /// # Errors
    /// The same as [`zero_shot`](Self::zero_shot), and [`SailError::Config`] or [`SailError::Segmentation`] if an
    /// option is out of range.
    ///
    /// # Examples
    /// ```
    /// use sail_vl::core::{Attention, DenseOptions, RgbImage};
    /// use sail_vl::eval::LabelMap;
    /// use sail_vl::{SailError, SailModel, SegmentOptions};
    ///
    /// fn animals(model: &SailModel, photo: &RgbImage) -> Result<LabelMap, SailError> {
    ///     let classes = [vec!["grass", "meadow"], vec!["cat"], vec!["dog"]];
    ///     let classes = classes.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
    ///     let dense = DenseOptions { attention: Attention::QueryQuery, ..DenseOptions::default() };
    ///     let options = SegmentOptions { dense, ..SegmentOptions::default() };
    ///     model.segmenter(&classes, &["a photo of a {}."], &options)?.segment(photo)
    /// }
    /// ```
    pub fn segmenter(
        &self,
        classes: &[impl AsRef<[String]>],
        templates: &[impl AsRef<str>],
        options: &SegmentOptions,
    ) -> Result<Segmenter<H>, SailError> {
        sail_core::Check::check(&options.sliding)?;
        let scale = self.head.log_scale().exp().try_into_vec_as::<f32>()?[0];
        let decision = Decision { scale, background_threshold: options.background_threshold };
        // Reports an invalid decision before the first image.
        LogitMap::new([1, 1], classes.len().max(1), vec![0.0; classes.len().max(1)])?
            .labels([1, 1], &decision)?;
        Ok(Segmenter {
            tower: self.dense().with_options(options.dense),
            weights: self.class_weights(classes, templates)?.transpose(),
            sliding: options.sliding,
            decision,
            batch: self.batch,
        })
    }
}

impl<H: AlignmentHead> Segmenter<H> {
    /// Caches the backbone features of every window in a folder, like [`DenseTower::with_cache`]. Another head, other
    /// classes or another threshold can then use the same images and windows without running the backbone.
    ///
    /// # Errors
    /// The same as [`DenseTower::with_cache`].
    pub fn with_cache(self, folder: impl Into<PathBuf>, dtype: Dtype) -> Result<Self, SailError> {
        Ok(Self { tower: self.tower.with_cache(folder, dtype)?, ..self })
    }

    /// Returns the class of every pixel.
    ///
    /// # Errors
    /// Returns [`SailError::Segmentation`] if an image is empty or too elongated, the errors of [`DenseTower::encode`],
    /// and [`SailError::Direction`] if the embedding of a patch is all zeros or not finite.
    pub fn segment(&self, image: &RgbImage) -> Result<LabelMap, SailError> {
        let size = [image.height() as usize, image.width() as usize];
        Ok(self.logits(image)?.labels(size, &self.decision)?)
    }

    /// Returns the cosine similarity of every pixel of the resized image and every class, averaged over windows.
    ///
    /// # Errors
    /// The same as [`segment`](Self::segment).
    pub fn logits(&self, image: &RgbImage) -> Result<LogitMap, SailError> {
        let size = self.sliding.resized([image.height() as usize, image.width() as usize])?;
        let (image, windows) = (resized(image, size)?, self.sliding.windows(size)?);
        let classes = self.weights.dims()[1];
        let mut sum = WindowSum::new(size, classes)?;
        for windows in windows.chunks(self.batch) {
            let crops: Vec<RgbImage> = windows.iter().map(|window| crop(&image, *window)).collect();
            let features = self.tower.encode_unresized(&crops)?;
            let [batch, rows, columns, dim] = features.dims();
            let patches = unit(Side::Image, features.reshape([batch * rows * columns, dim]))?;
            let logits = patches.matmul(self.weights.clone()).try_into_vec_as::<f32>()?;
            for (window, logits) in windows.iter().zip(logits.chunks_exact(rows * columns * classes)) {
                sum.add(*window, &LogitMap::new([rows, columns], classes, logits.to_vec())?)?;
            }
        }
        Ok(sum.mean()?)
    }
}

/// Resizes an image bilinearly without antialiasing, like OpenCV's `INTER_LINEAR`.
fn resized(image: &RgbImage, size: [usize; 2]) -> Result<RgbImage, SegmentationError> {
    let from = [image.height() as usize, image.width() as usize];
    if from == size {
        return Ok(image.clone());
    }
    let values = image.as_raw().iter().map(|&value| f32::from(value)).collect();
    let values = LogitMap::new(from, 3, values)?.resize(size)?;
    let values = values.values().iter().map(|value| value.round() as u8).collect();
    // Never `None`: the number of values matches the size.
    Ok(RgbImage::from_raw(size[1] as u32, size[0] as u32, values).unwrap_or_default())
}

fn crop(image: &RgbImage, window: Window) -> RgbImage {
    let Window { place: [top, left], size: [height, width] } = window;
    RgbImage::from_fn(width as u32, height as u32, |x, y| *image.get_pixel(left as u32 + x, top as u32 + y))
}
