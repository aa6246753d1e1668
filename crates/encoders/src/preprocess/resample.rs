//! Resampling of 8-bit images, bit-identical to Pillow.
//!
//! Each axis is a convolution with a filter centered on the output pixel, stretched by the scale when downsampling, in fixed
//! point with 22 fractional bits. The result of the first axis is rounded and clipped to 8 bits, so the order of the axes
//! matters. Only the window that the crop keeps is computed.

use std::f64::consts::PI;
use std::ops::Range;

use sail_core::RgbImage;
use serde::{Deserialize, Serialize};

/// A resampling filter, with the names and values of Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resample {
    /// 0: nearest neighbor.
    Nearest,
    /// 1: Lanczos, windowed sinc with three lobes.
    Lanczos,
    /// 2: linear interpolation.
    Bilinear,
    /// 3: cubic convolution of Keys with a = -0.5.
    Bicubic,
    /// 4: mean of the covered pixels.
    Box,
    /// 5: sinc with a Hamming window, one lobe.
    Hamming,
}

impl Resample {
    /// Returns the filter for a value of Pillow.
    pub(super) fn from_pillow(value: u64) -> Option<Self> {
        let all = [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];
        all.get(usize::try_from(value).ok()?).copied()
    }

    /// Returns the name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Lanczos => "lanczos",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Box => "box",
            Self::Hamming => "hamming",
        }
    }

    /// Returns half the width of the filter, in output pixels when downsampling and in input pixels otherwise.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Returns the value of the filter at `x`.
    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        let distance = x.abs();
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance < 1.0 => sinc(distance) * (0.54 + 0.46 * (distance * PI).cos()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5,
            _ => 0.0,
        }
    }
}

/// Resizes to `size` (positive height and width) and returns the given rows and columns of the result.
pub(super) fn resize(
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
    let vertical = Taps::new(height, size[0], resample, rows);
    let horizontal = Taps::new(width, size[1], resample, columns);
    let (first_row, first_column) = (vertical.inputs().start, horizontal.inputs().start);
    // Pillow 13 starts with the columns if they shrink by more than twice as many pixels; earlier versions never do.
    if size[0] < height && height + 2 * size[1] > size[0] + 2 * width {
        let between = source.convolve_columns(&vertical, 0, horizontal.inputs());
        let width = horizontal.inputs().len();
        Grid { pixels: &between, width }.convolve_rows(&horizontal, first_column, 0..rows_of(&between, width))
    } else {
        let between = source.convolve_rows(&horizontal, 0, vertical.inputs());
        let width = horizontal.spans.len();
        Grid { pixels: &between, width }.convolve_columns(&vertical, first_row, 0..width)
    }
}

fn rows_of(pixels: &[u8], width: usize) -> usize {
    pixels.len() / (width * 3)
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
const HALF: i32 = 1 << (BITS - 1);

fn round(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// The filter weights of one axis.
struct Taps {
    /// First input and number of weights of every output.
    spans: Vec<(usize, usize)>,
    /// Concatenated weights of all outputs.
    weights: Vec<i32>,
}

impl Taps {
    fn new(from: usize, to: usize, resample: Resample, outputs: Range<usize>) -> Self {
        if from == to {
            // Pillow skips the axis, even for filters that blur.
            let spans = outputs.map(|output| (output, 1)).collect::<Vec<_>>();
            return Self { weights: vec![1 << BITS; spans.len()], spans };
        }
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let (support, shrink) = (resample.support() * stretch, 1.0 / stretch);
        let mut spans = Vec::with_capacity(outputs.len());
        let mut weights = Vec::new();
        let mut exact = Vec::new();
        for output in outputs {
            let center = (output as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            exact.clear();
            exact.extend((start..end).map(|input| resample.weight((input as f64 - center + 0.5) * shrink)));
            let sum: f64 = exact.iter().sum();
            spans.push((start, exact.len()));
            weights.extend(exact.iter().map(|weight| {
                let share = if sum == 0.0 { *weight } else { weight / sum };
                // `round` rounds half away from zero, as Pillow does.
                (share * f64::from(1 << BITS)).round() as i32
            }));
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
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut rest = self.weights.as_slice();
        self.spans.iter().map(move |&(start, count)| {
            let (weights, after) = rest.split_at(count);
            rest = after;
            (start, weights)
        })
    }
}

/// Pixels in row-major order.
struct Grid<'a> {
    pixels: &'a [u8],
    width: usize,
}

impl Grid<'_> {
    /// Convolves a range of rows; `first` is the input index of the first column.
    fn convolve_rows(&self, taps: &Taps, first: usize, rows: Range<usize>) -> Vec<u8> {
        let columns = taps.spans.len();
        let mut result = vec![0; rows.len() * columns * 3];
        let lines = self.pixels.chunks_exact(self.width * 3).skip(rows.start);
        for (from, to) in lines.zip(result.chunks_exact_mut(columns * 3)) {
            let (from, _) = from.as_chunks::<3>();
            for (to, (start, weights)) in to.as_chunks_mut::<3>().0.iter_mut().zip(taps.iter()) {
                let mut sums = [HALF; 3];
                for (pixel, weight) in from[start - first..][..weights.len()].iter().zip(weights) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(*value) * weight;
                    }
                }
                *to = sums.map(round);
            }
        }
        result
    }

    /// Convolves a range of columns; `first` is the input index of the first row.
    fn convolve_columns(&self, taps: &Taps, first: usize, columns: Range<usize>) -> Vec<u8> {
        let mut result = Vec::with_capacity(taps.spans.len() * columns.len() * 3);
        let mut sums = vec![HALF; columns.len() * 3];
        for (start, weights) in taps.iter() {
            sums.fill(HALF);
            let lines = self.pixels.chunks_exact(self.width * 3).skip(start - first);
            for (line, weight) in lines.zip(weights) {
                for (sum, value) in sums.iter_mut().zip(&line[columns.start * 3..columns.end * 3]) {
                    *sum += i32::from(*value) * weight;
                }
            }
            result.extend(sums.iter().map(|sum| round(*sum)));
        }
        result
    }
}
