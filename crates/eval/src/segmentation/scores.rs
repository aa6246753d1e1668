//! Confusion matrices and intersection over union.

use sail_core::ensure;
use serde::{Deserialize, Serialize};

use super::{IGNORED, LabelMap, SegmentationError};

/// A confusion matrix of pixels, accumulated over images.
///
/// # Examples
/// ```
/// use sail_eval::{Confusion, IGNORED, LabelMap};
/// let mut confusion = Confusion::new(3)?;
/// let truth = LabelMap::new([1, 4], vec![0, 0, 1, IGNORED])?;
/// let prediction = LabelMap::new([1, 4], vec![0, 1, 1, 2])?;
/// confusion.add(&prediction, &truth)?;
/// let scores = confusion.scores();
/// assert_eq!(scores.per_class_iou, [Some(50.0), Some(50.0), None]);
/// assert_eq!(scores.miou, 50.0);
/// # Ok::<(), sail_eval::SegmentationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    images: usize,
    /// Row-major, with a row for every true class.
    counts: Vec<u64>,
}

/// Scores of a segmentation, in percent.
///
/// With `n[t][p]` the number of pixels of class `t` with prediction `p` over all images, without pixels whose true label
/// is [`IGNORED`]: `IoU_c = n[c][c] / (sum_p n[c][p] + sum_t n[t][c] - n[c][c])`, as in mmsegmentation's `mIoU`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Mean of `per_class_iou` over the classes that have one; 0 without such classes.
    pub miou: f64,
    /// Intersection over union; `None` (`null`) for a class that occurs neither in masks nor in predictions.
    pub per_class_iou: Vec<Option<f64>>,
    /// Percentage of the pixels of each class that are predicted correctly; `None` for a class that does not occur in masks.
    pub per_class_accuracy: Vec<Option<f64>>,
    /// Percentage of all pixels that are predicted correctly.
    pub pixel_accuracy: f64,
    /// The scores of predicting the most frequent class everywhere.
    pub baseline: FrequencyBaseline,
    /// Number of images.
    pub n_images: usize,
    /// Number of pixels that are not ignored.
    pub n_pixels: u64,
}

/// The scores of predicting the most frequent class of the masks everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrequencyBaseline {
    /// The class.
    pub class: usize,
    /// Its intersection over union, divided by the number of classes in the masks, whose other IoUs are 0.
    pub miou: f64,
    /// Percentage of its pixels.
    pub pixel_accuracy: f64,
}

impl Confusion {
    /// Creates an empty matrix.
    ///
    /// # Errors
    /// [`SegmentationError::Config`] if the number of classes is not 1 to 65,535.
    pub fn new(classes: usize) -> Result<Self, SegmentationError> {
        ensure((1..=usize::from(IGNORED)).contains(&classes), "classes", classes, format!("1 to {IGNORED}"))?;
        Ok(Self { classes, images: 0, counts: vec![0; classes * classes] })
    }

    /// Adds an image, without pixels whose true label is [`IGNORED`].
    ///
    /// # Errors
    /// [`SegmentationError::Size`] for maps of different sizes, [`SegmentationError::Label`] for a label that is not a
    /// class. On an error nothing is added.
    pub fn add(&mut self, prediction: &LabelMap, truth: &LabelMap) -> Result<(), SegmentationError> {
        if prediction.size() != truth.size() {
            return Err(SegmentationError::Size { found: truth.size(), expected: prediction.size() });
        }
        truth.check(self.classes, true, "mask")?;
        prediction.check(self.classes, false, "prediction")?;
        for (&truth, &prediction) in truth.labels().iter().zip(prediction.labels()) {
            if truth != IGNORED {
                self.counts[usize::from(truth) * self.classes + usize::from(prediction)] += 1;
            }
        }
        self.images += 1;
        Ok(())
    }

    /// Returns the counts, with a row for every true class and a column for every predicted class.
    ///
    /// # Shapes
    /// - output: `[classes, classes]`, row-major
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Computes the scores of all images.
    pub fn scores(&self) -> Segmentation {
        let classes = 0..self.classes;
        let row = |truth: usize| &self.counts[truth * self.classes..][..self.classes];
        let of_truth: Vec<u64> = classes.clone().map(|class| row(class).iter().sum()).collect();
        let predicted = |class: usize| {
            (0..self.classes).map(|truth| self.counts[truth * self.classes + class]).sum::<u64>()
        };
        let hits: Vec<u64> = classes.clone().map(|class| row(class)[class]).collect();
        let n_pixels: u64 = of_truth.iter().sum();
        let percent = |part: u64, whole: u64| (whole > 0).then(|| 100.0 * part as f64 / whole as f64);
        let per_class_iou: Vec<_> = classes
            .clone()
            .map(|class| percent(hits[class], of_truth[class] + predicted(class) - hits[class]))
            .collect();
        let present = of_truth.iter().filter(|&&count| count > 0).count();
        // The first of several equally frequent classes.
        let frequent = classes.clone().rev().max_by_key(|&class| of_truth[class]).unwrap_or(0);
        let share = percent(of_truth[frequent], n_pixels).unwrap_or(0.0);
        let found: Vec<f64> = per_class_iou.iter().flatten().copied().collect();
        Segmentation {
            miou: found.iter().sum::<f64>() / found.len().max(1) as f64,
            per_class_iou,
            per_class_accuracy: classes.map(|class| percent(hits[class], of_truth[class])).collect(),
            pixel_accuracy: percent(hits.iter().sum(), n_pixels).unwrap_or(0.0),
            baseline: FrequencyBaseline {
                class: frequent,
                miou: share / present.max(1) as f64,
                pixel_accuracy: share,
            },
            n_images: self.images,
            n_pixels,
        }
    }
}
