//! Absolute positions of patches.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::pretrained::Weights;
use crate::spec::{Interpolation, VisionPositions, VisionSpec};

/// Positions for any grid.
pub(super) enum Positions {
    None,
    Table(Box<Table>),
    SinCos { width: usize, device: Device },
}

/// Learned positions of one grid.
pub(super) struct Table {
    /// Positions of the first tokens of the prefix, `f32`.
    prefix: Option<Tensor<2>>,
    /// Positions of the trained grid, `[rows * columns, width]`, `f32`, because half precision shifts them.
    patches: Tensor<2>,
    grid: [usize; 2],
    interpolation: Interpolation,
}

impl Positions {
    pub(super) fn load(weights: &mut Weights, spec: &VisionSpec) -> Self {
        match spec.positions {
            VisionPositions::None => Self::None,
            VisionPositions::SinCos => Self::SinCos { width: spec.width, device: weights.device().clone() },
            VisionPositions::Table { grid, prefix, interpolation } => {
                let count = grid[0] * grid[1];
                let table = weights.take("positions", [prefix + count, spec.width]).cast(DType::F32);
                let (prefix, patches) = if prefix > 0 && weights.check().is_ok() {
                    (Some(table.clone().narrow(0, 0, prefix)), table.narrow(0, prefix, count))
                } else {
                    (None, table)
                };
                Self::Table(Box::new(Table { prefix, patches, grid, interpolation }))
            }
        }
    }

    /// Returns the positions of the first tokens of the prefix, if they have some.
    pub(super) fn of_prefix(&self) -> Option<Tensor<2>> {
        match self {
            Self::Table(table) => table.prefix.clone(),
            _ => None,
        }
    }

    /// Returns the only grid that is supported, if the positions cannot be resized.
    pub(super) fn fixed_grid(&self) -> Option<[usize; 2]> {
        match self {
            Self::Table(table) if table.interpolation == Interpolation::Fixed => Some(table.grid),
            _ => None,
        }
    }

    /// Returns the positions of the patches of a grid, `[rows * columns, width]`, `f32`.
    pub(super) fn of_grid(&self, to: [usize; 2]) -> Option<Tensor<2>> {
        match self {
            Self::None => None,
            Self::SinCos { width, device } => Some(sin_cos(to, *width, device)),
            Self::Table(table) => Some(resize(table.patches.clone(), table.grid, to, table.interpolation)),
        }
    }
}

/// Returns sines and cosines of the column, then of the row, with frequencies `10000^(-4 i / width)`.
fn sin_cos([rows, columns]: [usize; 2], width: usize, device: &Device) -> Tensor<2> {
    let quarter = width / 4;
    let mut values = Vec::with_capacity(rows * columns * width);
    for row in 0..rows {
        for column in 0..columns {
            for place in [column, row] {
                let angle = |i| place as f64 / 10_000_f64.powf(f64::from(i) / quarter as f64);
                values.extend((0..quarter as u32).map(|i| angle(i).sin() as f32));
                values.extend((0..quarter as u32).map(|i| angle(i).cos() as f32));
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [rows * columns, 4 * quarter]), (device, DType::F32))
}

/// Resizes positions to another grid, as PyTorch's `interpolate` without `align_corners`.
///
/// The filter is separable: the result is `R * positions * C^T` with two small matrices.
///
/// # Shapes
/// - positions: `[from rows * from columns, width]`
/// - result: `[rows * columns, width]`
fn resize(
    positions: Tensor<2>,
    from: [usize; 2],
    to @ [rows, columns]: [usize; 2],
    interpolation: Interpolation,
) -> Tensor<2> {
    if to == from {
        return positions;
    }
    let [_, width] = positions.dims();
    let device = positions.device();
    let weights = |from, to| weights(from, to, interpolation, &device);
    let vertical = weights(from[0], rows).matmul(positions.reshape([from[0], from[1] * width]));
    let horizontal = weights(from[1], columns).unsqueeze::<3>();
    let horizontal = horizontal.matmul(vertical.reshape([rows, from[1], width]));
    horizontal.reshape([rows * columns, width])
}

/// Returns the matrix `[output, input]` that resizes one dimension.
fn weights(input: usize, output: usize, interpolation: Interpolation, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0_f32; output * input];
    let scale = input as f32 / output as f32;
    for (index, row) in weights.chunks_exact_mut(input).enumerate() {
        match interpolation {
            Interpolation::Fixed | Interpolation::Bicubic => cubic_neighbors(index, scale, row),
            Interpolation::BicubicOffset => {
                let scale = input as f64 / (output as f64 + 0.1);
                cubic_neighbors(index, scale as f32, row);
            }
            Interpolation::BicubicAntialias => antialiased(index, scale, 2.0, |x| cubic(x, -0.5), row),
            Interpolation::Bilinear => linear_neighbors(index, scale, row),
            Interpolation::BilinearAntialias => {
                antialiased(index, scale, 1.0, |x| (1.0 - x.abs()).max(0.0), row);
            }
        }
    }
    Tensor::from_data(TensorData::new(weights, [output, input]), (device, DType::F32))
}

/// Cubic interpolation of four neighbors at any scale; neighbors beyond the edge repeat the edge.
fn cubic_neighbors(index: usize, scale: f32, row: &mut [f32]) {
    let center = scale * (index as f32 + 0.5) - 0.5;
    for offset in -1..=2 {
        let neighbor = center.floor() + offset as f32;
        let input = (neighbor.max(0.0) as usize).min(row.len() - 1);
        row[input] += cubic(neighbor - center, -0.75);
    }
}

/// Linear interpolation of two neighbors at any scale; neighbors beyond the edge repeat the edge.
fn linear_neighbors(index: usize, scale: f32, row: &mut [f32]) {
    let center = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
    let last = row.len() - 1;
    let first = (center as usize).min(last);
    let share = (center - first as f32).min(1.0);
    row[first] += 1.0 - share;
    row[(first + 1).min(last)] += share;
}

/// A filter as wide as an output element; neighbors beyond the edge are ignored.
fn antialiased(index: usize, scale: f32, support: f32, filter: impl Fn(f32) -> f32, row: &mut [f32]) {
    let width = scale.max(1.0);
    let center = scale * (index as f32 + 0.5);
    let low = (center - support * width + 0.5).max(0.0) as usize;
    let high = ((center + support * width + 0.5) as usize).min(row.len());
    for (input, weight) in row.iter_mut().enumerate().take(high).skip(low) {
        *weight = filter((input as f32 + 0.5 - center) / width);
    }
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|weight| *weight /= sum);
}

/// Returns the value of the cubic convolution kernel of Keys with parameter `a`.
fn cubic(x: f32, a: f32) -> f32 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_interpolate_of_pytorch() {
        let values: Vec<f32> = (0..12).map(|i| (i as f32).powf(1.5)).collect();
        let table = Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([12, 1]);
        // Results of `torch.nn.functional.interpolate`; with an offset, of `scale_factor=((n + 0.1) / side, ...)`.
        let cases: [(_, [f32; 12], [f32; 10]); 5] = [
            (
                Interpolation::Bicubic,
                [
                    1.17221, 1.82066, 3.1419, 4.40483, 6.45649, 7.81439, 19.23188, 21.26875, 24.69135,
                    27.23589, 30.95891, 33.28758,
                ],
                [
                    -0.52888, 2.95927, 2.70554, 7.86904, 9.26049, 16.93828, 19.15693, 28.59595, 25.83183,
                    36.17082,
                ],
            ),
            (
                Interpolation::BicubicAntialias,
                [
                    2.09955, 2.8798, 4.27977, 5.87216, 7.94306, 9.32425, 17.56404, 19.47942, 22.57215,
                    25.4415, 28.84135, 31.03179,
                ],
                [
                    -0.09492, 2.85881, 3.16805, 7.39999, 9.87003, 16.27826, 20.23515, 28.10431, 26.35234,
                    34.94232,
                ],
            ),
            (
                Interpolation::Bilinear,
                [
                    2.0, 2.77254, 3.92016, 5.42048, 7.16137, 8.52718, 18.97056, 21.00782, 23.76946, 26.66694,
                    29.69177, 31.99222,
                ],
                [0.5, 4.01229, 4.13607, 9.05081, 9.59017, 16.6086, 18.72429, 27.07514, 24.81371, 34.05283],
            ),
            (
                Interpolation::BilinearAntialias,
                [
                    3.0, 3.90881, 5.22788, 6.86887, 8.73591, 10.19269, 17.14214, 19.10488, 21.76896,
                    24.57426, 27.51124, 29.74689,
                ],
                [
                    0.83263, 3.58196, 4.62746, 8.48243, 10.31971, 15.83313, 19.59974, 26.16042, 25.78643,
                    33.04528,
                ],
            ),
            (
                Interpolation::BicubicOffset,
                [
                    1.00375, 1.59984, 2.83233, 4.02523, 6.00805, 7.41172, 17.7724, 19.71581, 23.00747,
                    25.45465, 29.07298, 31.47483,
                ],
                [
                    -0.56718, 2.61541, 2.52654, 7.28383, 8.61087, 15.74252, 18.37374, 27.26345, 25.40012,
                    35.18686,
                ],
            ),
        ];
        for (interpolation, smaller, larger) in cases {
            for (to, expected) in [([2, 6], smaller.as_slice()), ([5, 2], larger.as_slice())] {
                let found = resize(table.clone(), [3, 4], to, interpolation).into_data();
                for (found, expected) in found.try_to_vec::<f32>().unwrap().iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-4, "{interpolation:?} {to:?}: {found}, {expected}");
                }
            }
        }
    }
}
