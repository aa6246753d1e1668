//! Position embeddings for grids other than the one they were trained on.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Resizes square position embeddings to another grid, as PyTorch's bicubic `interpolate` does without
/// `align_corners`; in 32-bit floats, because less shifts the embeddings.
///
/// The filter is separable: the result is `rows * positions * columns^T` for two small matrices.
///
/// # Shapes
/// - positions: `[side * side, hidden]`
/// - result: `[rows * columns, hidden]`
pub(super) fn resize(
    positions: Tensor<2>,
    side: usize,
    [rows, columns]: [usize; 2],
    antialias: bool,
) -> Tensor<2> {
    if [rows, columns] == [side, side] {
        return positions;
    }
    let [_, hidden] = positions.dims();
    let device = positions.device();
    let weights = |length| weights(side, length, antialias, &device);
    let vertical = weights(rows).matmul(positions.reshape([side, side * hidden]));
    let horizontal = weights(columns).unsqueeze::<3>().matmul(vertical.reshape([rows, side, hidden]));
    horizontal.reshape([rows * columns, hidden])
}

/// The matrix `[output, input]` that resizes a line.
fn weights(input: usize, output: usize, antialias: bool, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0_f32; output * input];
    for (place, row) in weights.chunks_exact_mut(input).enumerate() {
        if antialias { filtered(place, output, row) } else { interpolated(place, output, row) }
    }
    Tensor::from_data(TensorData::new(weights, [output, input]), (device, DType::F32))
}

/// Four neighbours, whatever the scale; those beyond the edge are the edge.
fn interpolated(place: usize, output: usize, row: &mut [f32]) {
    let scale = row.len() as f32 / output as f32;
    let centre = scale * (place as f32 + 0.5) - 0.5;
    for offset in -1..=2 {
        let neighbour = centre.floor() + offset as f32;
        let index = (neighbour.max(0.0) as usize).min(row.len() - 1);
        row[index] += cubic(neighbour - centre, -0.75);
    }
}

/// All neighbours under a kernel that is as wide as an output pixel; those beyond the edge do not count.
fn filtered(place: usize, output: usize, row: &mut [f32]) {
    let scale = row.len() as f32 / output as f32;
    let width = scale.max(1.0);
    let centre = scale * (place as f32 + 0.5);
    let low = (centre - 2.0 * width + 0.5).max(0.0) as usize;
    let high = ((centre + 2.0 * width + 0.5) as usize).min(row.len());
    for (index, weight) in row.iter_mut().enumerate().take(high).skip(low) {
        *weight = cubic((index as f32 + 0.5 - centre) / width, -0.5);
    }
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|weight| *weight /= sum);
}

/// Keys' cubic convolution kernel with parameter `a`.
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
