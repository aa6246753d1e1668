//! Resizing of position embeddings.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Resizes square position embeddings to another grid, as PyTorch's bicubic `interpolate` without `align_corners`. In `f32`,
/// because half precision shifts the embeddings.
///
/// The filter is separable: the result is `R * positions * C^T` with two small matrices.
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

/// Returns the matrix `[output, input]` that resizes one dimension.
fn weights(input: usize, output: usize, antialias: bool, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0_f32; output * input];
    for (index, row) in weights.chunks_exact_mut(input).enumerate() {
        if antialias { antialiased(index, output, row) } else { interpolated(index, output, row) }
    }
    Tensor::from_data(TensorData::new(weights, [output, input]), (device, DType::F32))
}

/// Cubic interpolation of four neighbors at any scale; neighbors beyond the edge repeat the edge.
fn interpolated(index: usize, output: usize, row: &mut [f32]) {
    let scale = row.len() as f32 / output as f32;
    let center = scale * (index as f32 + 0.5) - 0.5;
    for offset in -1..=2 {
        let neighbor = center.floor() + offset as f32;
        let input = (neighbor.max(0.0) as usize).min(row.len() - 1);
        row[input] += cubic(neighbor - center, -0.75);
    }
}

/// Cubic filter as wide as an output element; neighbors beyond the edge are ignored.
fn antialiased(index: usize, output: usize, row: &mut [f32]) {
    let scale = row.len() as f32 / output as f32;
    let width = scale.max(1.0);
    let center = scale * (index as f32 + 0.5);
    let low = (center - 2.0 * width + 0.5).max(0.0) as usize;
    let high = ((center + 2.0 * width + 0.5) as usize).min(row.len());
    for (input, weight) in row.iter_mut().enumerate().take(high).skip(low) {
        *weight = cubic((input as f32 + 0.5 - center) / width, -0.5);
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
