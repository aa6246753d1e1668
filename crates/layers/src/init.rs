//! Initial weights that are the same on every machine.

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws initial weights.
///
/// The numbers come from the ChaCha8 stream of the seed by a rule written here, not from a backend's generator,
/// so that one seed means one head whatever the device, the machine or the version of a dependency.
#[derive(Debug, Clone)]
pub struct WeightInit {
    rng: ChaCha8Rng,
    device: Device,
}

impl WeightInit {
    /// A generator for the given seed. Different streams of one seed are independent of each other.
    pub fn new(seed: u64, stream: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng, device: device.clone() }
    }

    /// The device that the weights are made on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A matrix uniform in `±sqrt(6 / (d_input + d_output))` (Glorot and Bengio, 2010).
    ///
    /// # Shapes
    /// - result: `[d_input, d_output]`
    pub fn xavier_uniform(&mut self, d_input: usize, d_output: usize) -> Tensor<2> {
        let bound = (6.0 / (d_input + d_output) as f64).sqrt() as f32;
        let values: Vec<f32> = (0..d_input * d_output)
            .map(|_| {
                // 24 bits are what an f32 in [0, 1) can hold evenly.
                let unit = (self.rng.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32);
                (2.0 * unit - 1.0) * bound
            })
            .collect();
        Tensor::from_data(TensorData::new(values, [d_input, d_output]), &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_weights_everywhere() {
        let draw = |seed, stream| {
            let mut init = WeightInit::new(seed, stream, &Device::flex());
            init.xavier_uniform(2, 2).into_data().try_to_vec::<f32>().unwrap()
        };
        // Golden: a change here changes every published seed.
        assert_eq!(draw(0, 1), [0.69686365, 0.6259206, -0.15946344, 0.5832645]);
        assert_ne!(draw(0, 1), draw(0, 2));
        assert_ne!(draw(0, 1), draw(1, 1));
    }

    #[test]
    fn weights_fill_their_range_evenly() {
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
