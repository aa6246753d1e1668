//! Sliding windows.

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

use super::{LogitMap, SegmentationError};

/// The most pixels that an image may be resized to.
const MAX_PIXELS: usize = 1 << 26;

/// How an image is cut into the windows that a backbone sees: mmsegmentation's `slide` mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlidingWindow {
    /// What the shorter side of an image is resized to, in pixels.
    pub short_side: usize,
    /// The side of a square window.
    pub window: usize,
    /// From one window to the next.
    pub stride: usize,
}

impl Default for SlidingWindow {
    /// The paper's: windows of 448, 224 apart, on a short side of 448.
    fn default() -> Self {
        Self { short_side: 448, window: 448, stride: 224 }
    }
}

impl Check for SlidingWindow {
    fn check(&self) -> Result<(), ConfigError> {
        let Self { short_side, window, stride } = *self;
        ensure((1..=1 << 13).contains(&short_side), "short_side", short_side, "1 to 8192")?;
        let within = (1..=short_side).contains(&window);
        ensure(within, "window", window, format!("1 to the short side, {short_side}"))?;
        let covers = (1..=window).contains(&stride);
        ensure(covers, "stride", stride, format!("1 to the window, {window}: no pixel may be left out"))
    }
}

/// A part of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first row and first column.
    pub place: [usize; 2],
    /// Its rows and columns.
    pub size: [usize; 2],
}

impl SlidingWindow {
    /// Height and width of an image once its shorter side is resized, the longer one in proportion, rounded half up.
    ///
    /// # Errors
    /// [`SegmentationError::Config`] for settings out of range, and for an image without pixels or that would have
    /// more than 67,108,864.
    pub fn resized(&self, size: [usize; 2]) -> Result<[usize; 2], SegmentationError> {
        self.check()?;
        let [height, width] = size;
        let (short, long) = (height.min(width), height.max(width));
        let scale = self.short_side as f64 / short as f64;
        let long = (long as f64 * scale + 0.5) as usize;
        let fits = short > 0 && long.saturating_mul(self.short_side) <= MAX_PIXELS;
        ensure(fits, "image", format!("{height} x {width}"), "less elongated, and some pixels")?;
        Ok(if height <= width { [self.short_side, long] } else { [long, self.short_side] })
    }

    /// The windows of a map, row by row: a stride apart, the last of a row or column moved back to end at the edge.
    ///
    /// # Errors
    /// [`SegmentationError::Config`] for settings out of range.
    ///
    /// # Examples
    /// ```
    /// let sliding = sail_eval::SlidingWindow { short_side: 4, window: 4, stride: 3 };
    /// let places: Vec<_> = sliding.windows([4, 9])?.iter().map(|window| window.place).collect();
    /// assert_eq!(places, [[0, 0], [0, 3], [0, 5]]);
    /// # Ok::<(), sail_eval::SegmentationError>(())
    /// ```
    pub fn windows(&self, size: [usize; 2]) -> Result<Vec<Window>, SegmentationError> {
        self.check()?;
        let [rows, columns] = size.map(|length| {
            let count = length.saturating_sub(self.window).div_ceil(self.stride) + 1;
            (0..count).map(move |number| {
                let end = (number * self.stride + self.window).min(length);
                let start = end.saturating_sub(self.window);
                (start, end - start)
            })
        });
        let window = |(top, height), (left, width)| Window { place: [top, left], size: [height, width] };
        Ok(rows.flat_map(|row| columns.clone().map(move |column| window(row, column))).collect())
    }
}

/// The mean of the logits of overlapping windows.
#[derive(Debug, Clone)]
pub struct WindowSum {
    sum: LogitMap,
    counts: Vec<f32>,
}

impl WindowSum {
    /// A map of `size` without windows.
    ///
    /// # Errors
    /// As [`LogitMap::new`].
    pub fn new(size: [usize; 2], classes: usize) -> Result<Self, SegmentationError> {
        let places = size[0].saturating_mul(size[1]);
        let sum = LogitMap::new(size, classes, vec![0.0; places.saturating_mul(classes)])?;
        Ok(Self { sum, counts: vec![0.0; places] })
    }

    /// Adds the logits of a window, resized to it.
    ///
    /// # Errors
    /// [`SegmentationError::Window`] for a window that is not in the map, or other classes.
    pub fn add(&mut self, window: Window, logits: &LogitMap) -> Result<(), SegmentationError> {
        let (map, expected) = (self.sum.size(), self.sum.classes());
        let Window { place, size } = window;
        let inside = |axis: usize| place[axis].checked_add(size[axis]).is_some_and(|end| end <= map[axis]);
        let classes = logits.classes();
        if classes != expected || !inside(0) || !inside(1) {
            return Err(SegmentationError::Window { place, size, classes, map, expected });
        }
        let logits = logits.resize(size)?;
        for (row, line) in logits.values().chunks_exact(size[1] * classes).enumerate() {
            let first = (place[0] + row) * map[1] + place[1];
            self.counts[first..][..size[1]].iter_mut().for_each(|count| *count += 1.0);
            let sums = &mut self.sum.values_mut()[first * classes..][..line.len()];
            sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }

    /// The sum of the windows, divided at every place by their number.
    ///
    /// # Errors
    /// [`SegmentationError::Uncovered`] for a place that no window covers.
    pub fn mean(mut self) -> Result<LogitMap, SegmentationError> {
        let [_, width] = self.sum.size();
        if let Some(place) = self.counts.iter().position(|count| *count == 0.0) {
            return Err(SegmentationError::Uncovered { row: place / width, column: place % width });
        }
        let classes = self.sum.classes();
        for (logits, count) in self.sum.values_mut().chunks_exact_mut(classes).zip(&self.counts) {
            logits.iter_mut().for_each(|value| *value /= count);
        }
        Ok(self.sum)
    }
}
