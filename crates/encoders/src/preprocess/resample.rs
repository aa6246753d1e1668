//! Resampling of images, in 8-bit values bit-identical to Pillow, or in floats as in PyTorch.
//!
//! Each axis is a convolution with a filter centered on the output pixel, stretched by the scale when downsampling. Only the
//! window that the crop keeps is computed.
//!
//! Pillow computes weights in `f64` and convolves in fixed point with 22 fractional bits. The result of the first axis is
//! rounded and clipped to 8 bits, so the order of the axes matters. PyTorch computes positions in `f32`, which are up to 1/4096
//! of a pixel off in images of some thousand pixels.

use std::ops::{AddAssign, Mul, Range};

use sail_core::RgbImage;

use super::Resample;

/// Resizes to `size` (positive height and width) as Pillow and returns the given rows and columns of the result.
pub(super) fn resize_bytes(
    image: &RgbImage,
    size: [usize; 2],
    resample: Resample,
    [rows, columns]: [Range<usize>; 2],
) -> Vec<u8> {
    let source = Grid { pixels: image.as_raw(), width: image.width() as usize };
    let (width, height) = (source.width, image.height() as usize);
    if resample == Resample::Nearest {
        return nearest(source.pixels, [height, width], size, [rows, columns]);
    }
    let taps = |from, to, outputs| {
        // `round` rounds half away from zero, as Pillow does.
        Taps::new(
            from,
            to,
            resample,
            outputs,
            |exact| exact,
            |weight| (weight * f64::from(ONE)).round() as i32,
        )
    };
    let vertical = taps(height, size[0], rows);
    let horizontal = taps(width, size[1], columns);
    let (first_row, first_column) = (vertical.inputs().start, horizontal.inputs().start);
    // Pillow 13 starts with the columns if they shrink by more than twice as many pixels; earlier versions never do.
    if size[0] < height && height + 2 * size[1] > size[0] + 2 * width {
        let between = source.convolve_columns(&vertical, 0, horizontal.inputs(), HALF, round);
        let between = Grid { pixels: &between, width: horizontal.inputs().len() };
        between.convolve_rows(&horizontal, first_column, 0..between.height(), HALF, round)
    } else {
        let between = source.convolve_rows(&horizontal, 0, vertical.inputs(), HALF, round);
        let between = Grid { pixels: &between, width: horizontal.spans.len() };
        between.convolve_columns(&vertical, first_row, 0..between.width, HALF, round)
    }
}

/// Resizes to `size` as PyTorch's `interpolate` with antialiasing and returns the given rows and columns of the result.
pub(super) fn resize_floats(
    image: &RgbImage,
    size: [usize; 2],
    resample: Resample,
    [rows, columns]: [Range<usize>; 2],
) -> Vec<f32> {
    let source = Grid { pixels: image.as_raw(), width: image.width() as usize };
    let taps = |from, to, outputs| {
        let single = |exact: f64| f64::from(exact as f32);
        Taps::new(from, to, resample, outputs, single, |weight| weight as f32)
    };
    let vertical = taps(image.height() as usize, size[0], rows);
    let horizontal = taps(source.width, size[1], columns);
    let between = source.convolve_rows(&horizontal, 0, vertical.inputs(), 0.0, |sum| sum);
    let between = Grid { pixels: &between, width: horizontal.spans.len() };
    between.convolve_columns(&vertical, vertical.inputs().start, 0..between.width, 0.0, |sum: f32| sum)
}

/// Nearest neighbor at positions that Pillow computes by accumulating the scale.
fn nearest(source: &[u8], from: [usize; 2], to: [usize; 2], window: [Range<usize>; 2]) -> Vec<u8> {
    let positions = |axis: usize| {
        let scale = from[axis] as f64 / to[axis] as f64;
        let mut position = scale * 0.5;
        let all = (0..window[axis].end).map(move |_| {
            let found = position as usize;
            position += scale;
            found.min(from[axis] - 1)
        });
        all.skip(window[axis].start)
    };
    let columns: Vec<usize> = positions(1).collect();
    let mut result = Vec::with_capacity(window[0].len() * columns.len() * 3);
    for row in positions(0) {
        let row = &source[row * from[1] * 3..][..from[1] * 3];
        for &column in &columns {
            result.extend_from_slice(&row[column * 3..][..3]);
        }
    }
    result
}

/// Fractional bits of a weight: 32 minus 8 for the value and 2 for sign and overshoot.
const BITS: u32 = 22;
const ONE: i32 = 1 << BITS;
const HALF: i32 = 1 << (BITS - 1);

fn round(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// The filter weights of one axis.
struct Taps<W> {
    /// First input and number of weights of every output.
    spans: Vec<(usize, usize)>,
    /// Concatenated weights of all outputs.
    weights: Vec<W>,
}

impl<W> Taps<W> {
    /// Computes the weights of `outputs`; `rounded` rounds scale and positions.
    fn new(
        from: usize,
        to: usize,
        resample: Resample,
        outputs: Range<usize>,
        rounded: impl Fn(f64) -> f64,
        weight: impl Fn(f64) -> W,
    ) -> Self {
        if from == to {
            // Pillow skips the axis, even for filters that blur; those of PyTorch have the same result.
            let (spans, weights) = outputs.map(|output| ((output, 1), weight(1.0))).unzip();
            return Self { spans, weights };
        }
        let scale = rounded(from as f64 / to as f64);
        let stretch = scale.max(1.0);
        let (support, shrink) = (resample.support() * stretch, rounded(1.0 / stretch));
        let mut spans = Vec::with_capacity(outputs.len());
        let mut weights = Vec::new();
        let mut exact = Vec::new();
        for output in outputs {
            let center = rounded((output as f64 + 0.5) * scale);
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let position = |input| rounded((input as f64 - center + 0.5) * shrink);
            exact.clear();
            exact.extend((start..end).map(|input| resample.weight(position(input))));
            let sum: f64 = exact.iter().sum();
            spans.push((start, exact.len()));
            weights.extend(exact.iter().map(|value| weight(if sum == 0.0 { *value } else { value / sum })));
        }
        Self { spans, weights }
    }

    /// Returns the range of inputs with a weight.
    fn inputs(&self) -> Range<usize> {
        let start = self.spans.iter().map(|span| span.0).min().unwrap_or(0);
        let end = self.spans.iter().map(|span| span.0 + span.1).max().unwrap_or(0);
        start..end
    }

    /// Iterates over the outputs with their first input and weights.
    fn iter(&self) -> impl Iterator<Item = (usize, &[W])> {
        let mut rest = self.weights.as_slice();
        self.spans.iter().map(move |&(start, count)| {
            let (weights, after) = rest.split_at(count);
            rest = after;
            (start, weights)
        })
    }
}

/// Pixels in row-major order.
struct Grid<'a, T> {
    pixels: &'a [T],
    width: usize,
}

impl<T: Copy> Grid<'_, T> {
    fn height(&self) -> usize {
        self.pixels.len() / (self.width * 3)
    }

    /// Convolves a range of rows; `first` is the input index of the first column. Sums begin with `zero`.
    fn convolve_rows<W, U>(
        &self,
        taps: &Taps<W>,
        first: usize,
        rows: Range<usize>,
        zero: W,
        finish: impl Fn(W) -> U,
    ) -> Vec<U>
    where
        W: Copy + From<T> + Mul<Output = W> + AddAssign,
        U: Copy + Default,
    {
        let columns = taps.spans.len();
        let mut result = vec![U::default(); rows.len() * columns * 3];
        let lines = self.pixels.chunks_exact(self.width * 3).skip(rows.start);
        for (from, to) in lines.zip(result.chunks_exact_mut(columns * 3)) {
            let (from, _) = from.as_chunks::<3>();
            for (to, (start, weights)) in to.as_chunks_mut::<3>().0.iter_mut().zip(taps.iter()) {
                let mut sums = [zero; 3];
                for (pixel, weight) in from[start - first..][..weights.len()].iter().zip(weights) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += W::from(*value) * *weight;
                    }
                }
                *to = sums.map(&finish);
            }
        }
        result
    }

    /// Convolves a range of columns; `first` is the input index of the first row. Sums begin with `zero`.
    fn convolve_columns<W, U>(
        &self,
        taps: &Taps<W>,
        first: usize,
        columns: Range<usize>,
        zero: W,
        finish: impl Fn(W) -> U,
    ) -> Vec<U>
    where
        W: Copy + From<T> + Mul<Output = W> + AddAssign,
    {
        let mut result = Vec::with_capacity(taps.spans.len() * columns.len() * 3);
        let mut sums = vec![zero; columns.len() * 3];
        for (start, weights) in taps.iter() {
            sums.fill(zero);
            let lines = self.pixels.chunks_exact(self.width * 3).skip(start - first);
            for (line, weight) in lines.zip(weights) {
                for (sum, value) in sums.iter_mut().zip(&line[columns.start * 3..columns.end * 3]) {
                    *sum += W::from(*value) * *weight;
                }
            }
            result.extend(sums.iter().map(|sum| finish(*sum)));
        }
        result
    }
}
