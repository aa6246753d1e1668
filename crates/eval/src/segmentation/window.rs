//! Sliding windows.

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

use super::{LogitMap, SegmentationError};

/// Maximum number of pixels of a resized image.
const MAX_PIXELS: usize = 1 << 26;

/// How an image is split into overlapping windows: mmsegmentation's `slide` mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlidingWindow {
    /// Size of the shorter side of a resized image, in pixels.
    pub short_side: usize,
    /// Size of a square window, in pixels.
    pub window: usize,
    /// Distance between windows, in pixels.
    pub stride: usize,
}

impl Default for SlidingWindow {
    /// Returns the setting of the paper: windows of 448 with a stride of 224, on a short side of 448.
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
        ensure(covers, "stride", stride, format!("1 to the window, {window}, so that every pixel is covered"))
    }
}

/// A rectangle of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First row and first column.
    pub place: [usize; 2],
    /// Numbers of rows and columns.
    pub size: [usize; 2],
}

impl SlidingWindow {
    /// Returns height and width of the resized image, with the aspect ratio preserved and the longer side rounded half up.
    ///
    /// # Errors
    /// [`SegmentationError::Config`] for settings out of range, for an empty image, and for a resized image of more than
    /// 67,108,864 pixels.
    pub fn resized(&self, size: [usize; 2]) -> Result<[usize; 2], SegmentationError> {
        self.check()?;
        let [height, width] = size;
        let (short, long) = (height.min(width), height.max(width));
        let scale = self.short_side as f64 / short as f64;
        let long = (long as f64 * scale + 0.5) as usize;
        let fits = short > 0 && long.saturating_mul(self.short_side) <= MAX_PIXELS;
        ensure(
            fits,
            "image",
            format!("{height} x {width}"),
            "at least one pixel, and a smaller aspect ratio",
        )?;
        Ok(if height <= width { [self.short_side, long] } else { [long, self.short_side] })
    }

    /// Returns the windows of a map, row by row. The last window of a row or column is shifted back to end at the edge.
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
            (0..count).map(move |index| {
                let end = (index * self.stride + self.window).min(length);
                let start = end.saturating_sub(self.window);
                (start, end - start)
            })
        });
        let window = |(top, height), (left, width)| Window { place: [top, left], size: [height, width] };
        Ok(rows.flat_map(|row| columns.clone().map(move |column| window(row, column))).collect())
    }
}

/// Accumulates the logits of overlapping windows.
#[derive(Debug, Clone)]
pub struct WindowSum {
    sum: LogitMap,
    counts: Vec<f32>,
}

impl WindowSum {
    /// Creates a map of `size` without windows.
    ///
    /// # Errors
    /// Those of [`LogitMap::new`].
    pub fn new(size: [usize; 2], classes: usize) -> Result<Self, SegmentationError> {
        let cells = size[0].saturating_mul(size[1]);
        let sum = LogitMap::new(size, classes, vec![0.0; cells.saturating_mul(classes)])?;
        Ok(Self { sum, counts: vec![0.0; cells] })
    }

    /// Adds the logits of a window, resized to the window.
    ///
    /// # Errors
    /// [`SegmentationError::Window`] for a window outside of the map or with another number of classes.
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

    /// Returns the mean logits of the windows that cover each cell.
    ///
    /// # Errors
    /// [`SegmentationError::Uncovered`] if a cell is not covered.
    pub fn mean(mut self) -> Result<LogitMap, SegmentationError> {
        let [_, width] = self.sum.size();
        if let Some(cell) = self.counts.iter().position(|count| *count == 0.0) {
            return Err(SegmentationError::Uncovered { row: cell / width, column: cell % width });
        }
        let classes = self.sum.classes();
        for (logits, count) in self.sum.values_mut().chunks_exact_mut(classes).zip(&self.counts) {
            logits.iter_mut().for_each(|value| *value /= count);
        }
        Ok(self.sum)
    }
}
