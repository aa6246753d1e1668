//! Rotary position embedding.

use std::f64::consts::TAU;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::spec::{Pairs, RotarySpec, Scaling};

/// Cosines and sines of the angles of every token.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    /// `[tokens, head_width]`, `f32`
    cos: Tensor<2>,
    /// `[tokens, head_width]`, `f32`
    sin: Tensor<2>,
    pairs: Pairs,
}

impl Rotary {
    /// Computes the tables for the angles of every token, `head_width / 2` each; tokens with angles 0 are not rotated.
    pub(crate) fn new(angles: &[Vec<f64>], pairs: Pairs, device: &Device) -> Self {
        let half = angles.first().map_or(0, Vec::len);
        let shape = [angles.len(), 2 * half];
        let table = |function: fn(f64) -> f64| {
            let mut values = Vec::with_capacity(angles.len() * 2 * half);
            for angles in angles {
                match pairs {
                    Pairs::Halves => values.extend(angles.iter().chain(angles).map(|x| function(*x) as f32)),
                    Pairs::Neighbors => {
                        values.extend(angles.iter().flat_map(|x| [function(*x) as f32; 2]));
                    }
                }
            }
            Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), pairs }
    }

    /// The tables for the positions `0..tokens` of a text.
    pub(crate) fn of_text(spec: &RotarySpec, head_width: usize, tokens: usize, device: &Device) -> Self {
        let frequencies = inverse_frequencies(spec, head_width);
        let angles = |position| frequencies.iter().map(|frequency| position as f64 * frequency).collect();
        Self::new(&(0..tokens).map(angles).collect::<Vec<_>>(), spec.pairs, device)
    }

    /// Rotates the heads of every token.
    ///
    /// # Shapes
    /// - x and result: `[batch, tokens, heads, width]`
    pub(super) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let dtype = x.dtype();
        let [batch, tokens, heads, width] = x.dims();
        let x = x.cast(DType::F32);
        let half = width / 2;
        let turned = match self.pairs {
            Pairs::Halves => {
                let (first, second) = (x.clone().narrow(3, 0, half), x.clone().narrow(3, half, half));
                Tensor::cat(vec![second.neg(), first], 3)
            }
            Pairs::Neighbors => {
                let pairs = x.clone().reshape([batch, tokens, heads, half, 2]);
                let (first, second) = (pairs.clone().narrow(4, 0, 1), pairs.narrow(4, 1, 1));
                Tensor::cat(vec![second.neg(), first], 4).reshape([batch, tokens, heads, width])
            }
        };
        let table = |table: &Tensor<2>| table.clone().reshape([1, tokens, 1, width]);
        (x * table(&self.cos) + turned * table(&self.sin)).cast(dtype)
    }
}

/// Returns the `width / 2` inverse frequencies `theta^(-2 i / width)` with their scaling.
pub(crate) fn inverse_frequencies(spec: &RotarySpec, width: usize) -> Vec<f64> {
    let scaled = |frequency: f64| match spec.scaling {
        Scaling::None => frequency,
        Scaling::Linear(factor) => frequency / factor,
        Scaling::Llama3 { factor, low, high, original } => {
            // The number of turns over the original context decides.
            let turns = original * frequency / TAU;
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - kept) * frequency / factor + kept * frequency
        }
    };
    (0..width / 2).map(|i| scaled(spec.theta.powf(-2.0 * i as f64 / width as f64))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: RotarySpec = RotarySpec { theta: 100.0, scaling: Scaling::None, pairs: Pairs::Halves };

    fn rotated(pairs: Pairs) -> Vec<f32> {
        let spec = RotarySpec { pairs, ..SPEC };
        let device = Device::flex();
        let x = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0], &device);
        let rotary = Rotary::of_text(&spec, 4, 2, &device);
        rotary.apply(x.reshape([1, 2, 1, 4])).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn pairs_are_rotated_by_the_angle_of_their_position() {
        let turn = |x: f64, y: f64, angle: f64| {
            [x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()]
        };
        let ([a, c], [b, d]) = (turn(1.0, 3.0, 1.0), turn(2.0, 4.0, 0.1));
        let halves = [1.0, 2.0, 3.0, 4.0, a, b, c, d];
        let ([a, b], [c, d]) = (turn(1.0, 2.0, 1.0), turn(3.0, 4.0, 0.1));
        let neighbors = [1.0, 2.0, 3.0, 4.0, a, b, c, d];
        for (pairs, expected) in [(Pairs::Halves, halves), (Pairs::Neighbors, neighbors)] {
            for (found, expected) in rotated(pairs).into_iter().zip(expected) {
                assert!((f64::from(found) - expected).abs() < 1e-6, "{pairs:?}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn low_frequencies_are_scaled() {
        assert_eq!(inverse_frequencies(&SPEC, 4), [1.0, 0.1]);
        assert_eq!(
            inverse_frequencies(&RotarySpec { scaling: Scaling::Linear(2.0), ..SPEC }, 4),
            [0.5, 0.05]
        );
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let found = inverse_frequencies(&RotarySpec { theta: 500_000.0, scaling, ..SPEC }, 128);
        // Results of transformers' `_compute_llama3_parameters`.
        let plain = |i: i32| 500_000.0_f64.powf(-2.0 * f64::from(i) / 128.0);
        assert!((found[0] - 1.0).abs() < 1e-12 && (found[28] - plain(28)).abs() < 1e-12);
        assert!((found[63] - plain(63) / 8.0).abs() < 1e-12);
        assert!(found[31] < plain(31) && found[31] > plain(31) / 8.0);
    }
}
