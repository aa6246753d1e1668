//! Segmentation by the names of the classes.

use std::path::PathBuf;

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, DenseOptions, Dtype, RgbImage, Side};
use sail_eval::{Decision, LabelMap, LogitMap, SegmentationError, SlidingWindow, Window, WindowSum};
use sail_layers::Head;

use super::dense::DenseTower;
use super::{SailError, SailModel, unit};

/// How images are segmented. The default is the paper's window without background threshold and with the attention
/// the backbone was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SegmentOptions {
    /// Resizing and windows.
    pub sliding: SlidingWindow,
    /// Layer and attention of the patches.
    pub dense: DenseOptions,
    /// A pixel whose highest probability is below this is of class 0.
    pub background_threshold: Option<f32>,
}

/// Open-vocabulary segmentation (SAIL, arXiv 2412.04616, section 4.2), made by [`SailModel::segmenter`].
///
/// An image is resized, cut into windows, and every patch of a window compared with every class: the logit is the cosine
/// of the aligned patch with the weight of the class. The logits of a window are resized to it bilinearly, averaged where
/// windows overlap, and resized to the image. The highest decides. For the background threshold they are multiplied by
/// the head's `exp(log_scale)` and put through a softmax over the classes.
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
    /// A segmenter for classes by their names, each of one name or several synonyms. The weight of a class is that of
    /// [`class_weights`](sail_eval::class_weights) over all its names in all templates, each name in place of `{}`.
    ///
    /// # Errors
    /// As [`zero_shot`](Self::zero_shot), and [`SailError::Config`] for options out of their range.
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
        // What the decision refuses, it refuses before the first image.
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
    /// Keeps the backbone's features of every window in a folder, as [`DenseTower::with_cache`] does: another head, other
    /// classes or another threshold on the same images and windows then do without the backbone.
    ///
    /// # Errors
    /// As [`DenseTower::with_cache`].
    pub fn with_cache(self, folder: impl Into<PathBuf>, dtype: Dtype) -> Result<Self, SailError> {
        Ok(Self { tower: self.tower.with_cache(folder, dtype)?, ..self })
    }

    /// The class of every pixel.
    ///
    /// # Errors
    /// [`SailError::Segmentation`] for an image without pixels or too elongated, those of [`DenseTower::encode`],
    /// and [`SailError::Direction`] for a patch whose embedding is not finite or all zeros.
    pub fn segment(&self, image: &RgbImage) -> Result<LabelMap, SailError> {
        let size = [image.height() as usize, image.width() as usize];
        Ok(self.logits(image)?.labels(size, &self.decision)?)
    }

    /// The cosine of every pixel of the resized image with every class, averaged over windows.
    ///
    /// # Errors
    /// As [`segment`](Self::segment).
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

/// The image at another size, interpolated bilinearly and not filtered, as OpenCV's `INTER_LINEAR` does.
fn resized(image: &RgbImage, size: [usize; 2]) -> Result<RgbImage, SegmentationError> {
    let from = [image.height() as usize, image.width() as usize];
    if from == size {
        return Ok(image.clone());
    }
    let values = image.as_raw().iter().map(|&value| f32::from(value)).collect();
    let values = LogitMap::new(from, 3, values)?.resize(size)?;
    let values = values.values().iter().map(|value| value.round() as u8).collect();
    // As many values as the size says.
    Ok(RgbImage::from_raw(size[1] as u32, size[0] as u32, values).unwrap_or_default())
}

fn crop(image: &RgbImage, window: Window) -> RgbImage {
    let Window { place: [top, left], size: [height, width] } = window;
    RgbImage::from_fn(width as u32, height as u32, |x, y| *image.get_pixel(left as u32 + x, top as u32 + y))
}
