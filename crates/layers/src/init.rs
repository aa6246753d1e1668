//! Reproducible initial weights.

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws initial weights.
///
/// The values are computed on the host from a ChaCha8 stream, not by a backend's generator, so a seed gives the same head
/// on every device and machine and with every version of the dependencies.
#[derive(Debug, Clone)]
pub struct WeightInit {
    rng: ChaCha8Rng,
    device: Device,
}

impl WeightInit {
    /// Creates a generator with the given seed. The streams of a seed are independent of each other.
    pub fn new(seed: u64, stream: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng, device: device.clone() }
    }

    /// Returns the device of the weights.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Draws a matrix from the uniform distribution on `±sqrt(6 / (d_input + d_output))` (Glorot and Bengio 2010).
    ///
    /// # Shapes
    /// - output: `[d_input, d_output]`
    pub fn xavier_uniform(&mut self, d_input: usize, d_output: usize) -> Tensor<2> {
        self.uniform([d_input, d_output], (6.0 / (d_input + d_output) as f64).sqrt())
    }

    /// Draws a matrix from the uniform distribution on `±bound`.
    pub(crate) fn uniform(&mut self, shape: [usize; 2], bound: f64) -> Tensor<2> {
        let bound = bound as f32;
        let values: Vec<f32> = (0..shape[0] * shape[1])
            .map(|_| {
                // An f32 has 24 significant bits.
                let unit = (self.rng.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32);
                (2.0 * unit - 1.0) * bound
            })
            .collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_seed_are_golden() {
        let draw = |seed, stream| {
            let mut init = WeightInit::new(seed, stream, &Device::flex());
            init.xavier_uniform(2, 2).into_data().try_to_vec::<f32>().unwrap()
        };
        // A change here changes the initial weights of every seed.
        assert_eq!(draw(0, 1), [0.69686365, 0.6259206, -0.15946344, 0.5832645]);
        assert_ne!(draw(0, 1), draw(0, 2));
        assert_ne!(draw(0, 1), draw(1, 1));
    }

    #[test]
    fn weights_are_uniform_in_their_range() {
        let mut init = WeightInit::new(7, 0, &Device::flex());
        let values = init.xavier_uniform(300, 300).into_data().try_to_vec::<f32>().unwrap();
        let bound = 0.1_f32;
        assert!(values.iter().all(|value| value.abs() <= bound));
        let mean = values.iter().sum::<f32>() / 9e4;
        let variance = values.iter().map(|value| value * value).sum::<f32>() / 9e4;
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.02, "{variance}");
    }
}
