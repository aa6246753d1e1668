//! Rotary embedding of the coordinates of patches.

use std::f64::consts::PI;

use burn::tensor::Device;

use crate::blocks::{Rotary, inverse_frequencies};
use crate::spec::{RotaryGrid, VisionSpec};

/// Returns the tables for class tokens, registers and patches of a grid, or `None` for a model without rotary embedding.
pub(super) fn of_grid(spec: &VisionSpec, grid: [usize; 2], device: &Device) -> Option<Rotary> {
    let attention = &spec.blocks.first()?.attention;
    let (rotary, layout) = (attention.rotary?, spec.rotary_grid?);
    // Half of the angles are those of the rows.
    let frequencies = inverse_frequencies(&rotary, attention.head_width / 2);
    let mut angles = vec![vec![0.0; 2 * frequencies.len()]; spec.class_tokens + spec.registers];
    for [first, second] in coordinates(layout, grid) {
        let of = |coordinate: f64| frequencies.iter().map(move |frequency| coordinate * frequency);
        angles.push(of(first).chain(of(second)).collect());
    }
    Some(Rotary::new(&angles, rotary.pairs, device))
}

/// Returns the two coordinates of every patch, in the order in which their angles are concatenated.
fn coordinates(layout: RotaryGrid, [rows, columns]: [usize; 2]) -> Vec<[f64; 2]> {
    let patches = (0..rows).flat_map(|row| (0..columns).map(move |column| [row as f64, column as f64]));
    let sides = [rows as f64, columns as f64];
    let place = |patch @ [row, column]: [f64; 2]| match layout {
        RotaryGrid::Centers => {
            let center = |i: f64, n: f64| 2.0 * PI * (2.0 * (i + 0.5) / n - 1.0);
            [center(row, sides[0]), center(column, sides[1])]
        }
        RotaryGrid::Indices { reference, offset } => scaled(patch.map(|i| i + offset), sides, reference),
        RotaryGrid::ColumnsFirst { reference, first } => {
            let [row, column] = scaled(patch.map(|i| i + first), sides, reference);
            [column, row]
        }
    };
    patches.map(place).collect()
}

/// Scales the coordinates of a patch to those in a reference grid.
fn scaled([row, column]: [f64; 2], sides: [f64; 2], reference: Option<[usize; 2]>) -> [f64; 2] {
    match reference {
        None => [row, column],
        Some([rows, columns]) => [row * rows as f64 / sides[0], column * columns as f64 / sides[1]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_of_every_layout() {
        let grid = [1, 2];
        assert_eq!(coordinates(RotaryGrid::Centers, grid), [[0.0, -PI], [0.0, PI]]);
        let indices = |reference| RotaryGrid::Indices { reference, offset: 0.5 };
        assert_eq!(coordinates(indices(None), grid), [[0.5, 0.5], [0.5, 1.5]]);
        assert_eq!(coordinates(indices(Some([3, 4])), grid), [[1.5, 1.0], [1.5, 3.0]]);
        let columns_first = |reference| RotaryGrid::ColumnsFirst { reference, first: 1.0 };
        assert_eq!(coordinates(columns_first(None), grid), [[1.0, 1.0], [2.0, 1.0]]);
        assert_eq!(coordinates(columns_first(Some([3, 4])), grid), [[2.0, 3.0], [4.0, 3.0]]);
    }
}
