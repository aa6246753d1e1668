//! Intersection over union.

use sail_core::ensure;
use serde::{Deserialize, Serialize};

use super::{IGNORED, LabelMap, SegmentationError};

/// How often a pixel of each class was given each class, over any number of images.
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
    /// Row by row: a row for every true class.
    counts: Vec<u64>,
}

/// Scores of a segmentation, in percent.
///
/// With `n[t][p]` the number of pixels of class `t` that were given class `p`, over all images and without those
/// whose true label is [`IGNORED`]:
/// `IoU_c = n[c][c] / (sum_p n[c][p] + sum_t n[t][c] - n[c][c])`, as mmsegmentation's `mIoU` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    /// The mean of `per_class_iou` over the classes that have one; 0 where none has.
    pub miou: f64,
    /// Intersection over union; `None` (`null`) for a class that is neither in the masks nor in the predictions.
    pub per_class_iou: Vec<Option<f64>>,
    /// The share of each class's pixels that were given it; `None` for a class that is not in the masks.
    pub per_class_accuracy: Vec<Option<f64>>,
    /// The share of all pixels that were given their class.
    pub pixel_accuracy: f64,
    /// What giving every pixel the most frequent class would score.
    pub baseline: FrequencyBaseline,
    /// How many images there are.
    pub n_images: usize,
    /// How many pixels count.
    pub n_pixels: u64,
}

/// The score of one class for all pixels: the most frequent in the masks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrequencyBaseline {
    /// The class.
    pub class: usize,
    /// Its intersection over union, divided by the number of classes in the masks: the others have 0.
    pub miou: f64,
    /// The share of its pixels.
    pub pixel_accuracy: f64,
}

impl Confusion {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// [`SegmentationError::Config`] unless there are 1 to 65,535 classes.
    pub fn new(classes: usize) -> Result<Self, SegmentationError> {
        ensure((1..=usize::from(IGNORED)).contains(&classes), "classes", classes, format!("1 to {IGNORED}"))?;
        Ok(Self { classes, images: 0, counts: vec![0; classes * classes] })
    }

    /// Counts an image. Pixels whose true label is [`IGNORED`] do not count.
    ///
    /// # Errors
    /// [`SegmentationError::Size`] for maps of different sizes, [`SegmentationError::Label`] for a label that is no
    /// class; nothing is counted then.
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

    /// The counts, a row for every true class and a column for every predicted one.
    ///
    /// # Shapes
    /// - result: `[classes, classes]`, row by row
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The scores of what was counted.
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
        // The first of equals.
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
