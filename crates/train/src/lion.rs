//! Lion in one pass over the memory of a CPU.

use burn::optim::{LearningRate, Lion, LionConfig, LionState, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use sail_support::cpu::is_host_f32;

/// Numbers that one task updates: large enough to hide its cost, small enough to share a layer among cores.
const CHUNK: usize = 1 << 15;

/// burn's [`Lion`], with the same result, fused where the tensors lie in the CPU's memory.
///
/// The update does next to nothing to each number, so its cost is the memory that it touches. As tensor
/// operations it runs over the weights some ten times on one core, a fifth of a whole training step; fused it
/// reads weight, gradient and momentum once, on all cores.
#[derive(Clone)]
pub(crate) struct FusedLion {
    lion: Lion,
    betas: [f32; 2],
    weight_decay: f32,
}

impl FusedLion {
    pub(crate) fn new(betas: [f32; 2], weight_decay: f32) -> Self {
        let [beta_1, beta_2] = betas;
        let config = LionConfig::new().with_beta_1(beta_1).with_beta_2(beta_2);
        Self { lion: config.with_weight_decay(weight_decay).build(), betas, weight_decay }
    }

    /// Updates weights and momentum in place.
    fn update(&self, rate: f64, weights: &mut [f32], momentum: &mut [f32], gradient: &[f32]) {
        let [beta_1, beta_2] = self.betas;
        let decay = (1.0 - rate * f64::from(self.weight_decay)) as f32;
        let rate = rate as f32;
        let chunks = weights.par_chunks_mut(CHUNK).zip(momentum.par_chunks_mut(CHUNK));
        chunks.zip(gradient.par_chunks(CHUNK)).for_each(|((weights, momentum), gradient)| {
            for ((weight, momentum), &gradient) in weights.iter_mut().zip(momentum).zip(gradient) {
                let update = *momentum * beta_1 + gradient * (1.0 - beta_1);
                let sign = f32::from(update > 0.0) - f32::from(update < 0.0);
                *weight = *weight * decay - sign * rate;
                *momentum = *momentum * beta_2 + gradient * (1.0 - beta_2);
            }
        });
    }

    /// The fused step, or nothing where the numbers are not plain f32 in the CPU's memory.
    fn fused<const D: usize>(
        &self,
        rate: f64,
        tensor: &Tensor<D>,
        gradient: &Tensor<D>,
        state: Option<&LionState<D>>,
    ) -> Option<(Tensor<D>, LionState<D>)> {
        let device = tensor.device();
        if !is_host_f32(tensor) || !is_host_f32(gradient) {
            return None;
        }
        let shape = tensor.shape();
        let mut weights = tensor.clone().into_data();
        let gradient = gradient.clone().into_data();
        let mut momentum = match state {
            Some(state) => state.momentum.clone().into_data(),
            None => TensorData::zeros::<f32, _>(shape),
        };
        let weights_slice = weights.as_mut_slice::<f32>().ok()?;
        self.update(rate, weights_slice, momentum.as_mut_slice().ok()?, gradient.as_slice().ok()?);
        let tensor = |data| Tensor::from_data(data, &device);
        Some((tensor(weights), LionState::new(tensor(momentum))))
    }
}

impl Optimizer for FusedLion {
    type State<const D: usize> = LionState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<LionState<D>>,
    ) -> (Tensor<D>, Option<LionState<D>>) {
        match self.fused(rate, &tensor, &gradient, state.as_ref()) {
            Some((tensor, state)) => (tensor, Some(state)),
            None => self.lion.step(rate, tensor, gradient, state),
        }
    }

    fn to_device<const D: usize>(state: LionState<D>, device: &Device) -> LionState<D> {
        Lion::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fused_update_gives_the_same_numbers() {
        let device = Device::flex();
        let rows = CHUNK / 100 + 7;
        let values = |phase: f32| {
            let values = (0..rows * 300).map(|i| (i as f32 * 0.61 + phase).sin() * (i % 5) as f32);
            Tensor::<2>::from_data(TensorData::new(values.collect(), [rows, 300]), &device)
        };
        let fused = FusedLion::new([0.9, 0.99], 0.3);
        let (mut a, mut b) = ((values(0.0), None), (values(0.0), None));
        for step in 0..4 {
            // A transposed gradient, as a matrix product's backward pass may give.
            let gradient = values(step as f32 + 0.5).transpose().reshape([300, rows]).transpose();
            a = fused.step(0.01 * f64::from(step + 1), a.0, gradient.clone(), a.1);
            b = fused.lion.step(0.01 * f64::from(step + 1), b.0, gradient, b.1);
        }
        let numbers = |x: Tensor<2>| x.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(numbers(a.0), numbers(b.0));
        assert_eq!(numbers(a.1.unwrap().momentum), numbers(b.1.unwrap().momentum));
    }
}
