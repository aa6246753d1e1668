//! Logit maps, their interpolation and their labels.

use rayon::prelude::*;
use sail_core::ensure;

use super::{IGNORED, LabelMap, SegmentationError};

/// Logits of every class for every cell of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitMap {
    size: [usize; 2],
    classes: usize,
    values: Vec<f32>,
}

/// How the class of a pixel follows from its logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Factor of the logits before the softmax, such as `exp(log_scale)` of the head for cosines.
    pub scale: f32,
    /// Pixels whose highest probability is below this threshold, 0 to 1, are assigned to class 0, the background.
    pub background_threshold: Option<f32>,
}

impl LogitMap {
    /// Creates a map of `size` rows and columns.
    ///
    /// # Shapes
    /// - values: `[rows, columns, classes]`, row-major
    ///
    /// # Errors
    /// [`SegmentationError::Length`] if the number of values does not match, [`SegmentationError::Config`] without classes
    /// or cells.
    pub fn new(size: [usize; 2], classes: usize, values: Vec<f32>) -> Result<Self, SegmentationError> {
        let [height, width] = size;
        ensure(classes > 0, "classes", classes, "at least 1")?;
        ensure(height > 0 && width > 0, "size", format!("{height} x {width}"), "at least 1 x 1")?;
        let (found, expected) = (values.len(), height.saturating_mul(width).saturating_mul(classes));
        if found != expected {
            return Err(SegmentationError::Length { height, width, found, expected });
        }
        Ok(Self { size, classes, values })
    }

    /// Returns the numbers of rows and columns.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the values, `[rows, columns, classes]`, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Resizes the map with bilinear interpolation, like PyTorch's `interpolate(mode="bilinear", align_corners=False)`:
    /// without antialiasing.
    ///
    /// # Errors
    /// [`SegmentationError::Config`] for an empty size.
    ///
    /// # Examples
    /// ```
    /// let map = sail_eval::LogitMap::new([1, 2], 1, vec![0.0, 4.0])?;
    /// assert_eq!(map.resize([1, 4])?.values(), [0.0, 1.0, 3.0, 4.0]);
    /// # Ok::<(), sail_eval::SegmentationError>(())
    /// ```
    pub fn resize(&self, size: [usize; 2]) -> Result<Self, SegmentationError> {
        let [height, width] = size;
        ensure(height > 0 && width > 0, "size", format!("{height} x {width}"), "at least 1 x 1")?;
        let mut values = vec![0.0; height * width * self.classes];
        self.rows(size, &mut values, |row, out| out.copy_from_slice(row));
        Ok(Self { size, classes: self.classes, values })
    }

    /// Assigns a class to every pixel of an image of `size`: the class with the highest resized logit, the first of
    /// several. Each thread holds only one row of the resized map.
    ///
    /// # Errors
    /// [`SegmentationError::Config`] for an empty size, more than 65,535 classes, a scale that is not positive, and a
    /// threshold out of range.
    ///
    /// # Examples
    /// ```
    /// use sail_eval::{Decision, LogitMap};
    /// let map = LogitMap::new([1, 2], 2, vec![0.0, 4.0, 0.6, 0.5])?;
    /// let decision = Decision { scale: 1.0, background_threshold: None };
    /// assert_eq!(map.labels([1, 2], &decision)?.labels(), [1, 0]);
    /// # Ok::<(), sail_eval::SegmentationError>(())
    /// ```
    pub fn labels(&self, size: [usize; 2], decision: &Decision) -> Result<LabelMap, SegmentationError> {
        let [height, width] = size;
        ensure(height > 0 && width > 0, "size", format!("{height} x {width}"), "at least 1 x 1")?;
        ensure(self.classes <= usize::from(IGNORED), "classes", self.classes, format!("at most {IGNORED}"))?;
        let scale = decision.scale;
        ensure(scale.is_finite() && scale > 0.0, "scale", scale, "a positive value")?;
        if let Some(threshold) = decision.background_threshold {
            ensure((0.0..=1.0).contains(&threshold), "background_threshold", threshold, "0 to 1")?;
        }
        let mut labels = vec![0; height * width];
        self.rows(size, &mut labels, |row, labels| {
            for (label, logits) in labels.iter_mut().zip(row.chunks_exact(self.classes)) {
                *label = decision.label(logits);
            }
        });
        LabelMap::new(size, labels)
    }

    /// Calls `work` with each row of the map resized to `size` and the corresponding part of `out`.
    fn rows<T: Send>(&self, size: [usize; 2], out: &mut [T], work: impl Fn(&[f32], &mut [T]) + Sync) {
        let classes = self.classes;
        let [rows, columns] = [0, 1].map(|axis| taps(self.size[axis], size[axis]));
        let source = |row: usize| &self.values[row * self.size[1] * classes..][..self.size[1] * classes];
        let length = out.len() / size[0];
        let buffer = || (vec![0.0; self.size[1] * classes], vec![0.0; size[1] * classes]);
        out.par_chunks_exact_mut(length).zip(&rows).for_each_init(buffer, |(between, row), (out, tap)| {
            for ((value, &first), &second) in
                between.iter_mut().zip(source(tap.first)).zip(source(tap.second))
            {
                *value = tap.mix(first, second);
            }
            for (cell, tap) in row.chunks_exact_mut(classes).zip(&columns) {
                let [first, second] =
                    [tap.first, tap.second].map(|from| &between[from * classes..][..classes]);
                for ((value, &first), &second) in cell.iter_mut().zip(first).zip(second) {
                    *value = tap.mix(first, second);
                }
            }
            work(row, out);
        });
    }
}

impl Decision {
    fn label(&self, logits: &[f32]) -> u16 {
        let (mut best, mut highest) = (0, f32::NEG_INFINITY);
        for (class, &logit) in logits.iter().enumerate() {
            if logit > highest {
                (best, highest) = (class, logit);
            }
        }
        let Some(threshold) = self.background_threshold else { return best as u16 };
        // The softmax at its maximum.
        let sum: f32 = logits.iter().map(|logit| (self.scale * (logit - highest)).exp()).sum();
        if 1.0 / sum < threshold { 0 } else { best as u16 }
    }
}

/// The two neighbours of an output position along an axis, and the weight of the second.
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

impl Tap {
    fn mix(&self, first: f32, second: f32) -> f32 {
        first * (1.0 - self.weight) + second * self.weight
    }
}

fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f32 / to as f32;
    let tap = |position| {
        let centre = (scale * (position as f32 + 0.5) - 0.5).max(0.0);
        let first = (centre as usize).min(from - 1);
        Tap { first, second: (first + 1).min(from - 1), weight: (centre - first as f32).clamp(0.0, 1.0) }
    };
    (0..to).map(tap).collect()
}
