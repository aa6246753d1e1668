//! Fused Lion for tensors in host memory.

use burn::optim::{LearningRate, Lion, LionConfig, LionState, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use sail_support::cpu::is_host_f32;

/// Number of elements per task: enough to amortize its overhead, few enough to split a layer across cores.
const TASK: usize = 1 << 15;

/// burn's [`Lion`], fused for tensors in host memory, with the same result.
///
/// The update is bound by memory bandwidth. As tensor operations it makes about ten passes over the weights on one
/// core, a fifth of the time of a training step. Fused, it reads weights, gradients and momentum once, on all cores,
/// and writes in place.
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
        let tasks = weights.par_chunks_mut(TASK).zip(momentum.par_chunks_mut(TASK));
        tasks.zip(gradient.par_chunks(TASK)).for_each(|((weights, momentum), gradient)| {
            for ((weight, momentum), &gradient) in weights.iter_mut().zip(momentum).zip(gradient) {
                let update = *momentum * beta_1 + gradient * (1.0 - beta_1);
                let sign = f32::from(update > 0.0) - f32::from(update < 0.0);
                *weight = *weight * decay - sign * rate;
                *momentum = *momentum * beta_2 + gradient * (1.0 - beta_2);
            }
        });
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
        if !is_host_f32(&tensor) || !is_host_f32(&gradient) {
            return self.lion.step(rate, tensor, gradient, state);
        }
        let device = tensor.device();
        let mut momentum = match state {
            Some(state) => state.momentum.into_data(),
            None => TensorData::zeros::<f32, _>(tensor.shape()),
        };
        // Copies only if the tensor is shared.
        let (mut weights, gradient) = (tensor.into_data(), gradient.into_data());
        let slices = (weights.as_mut_slice(), momentum.as_mut_slice(), gradient.as_slice());
        let (Ok(weight_slice), Ok(momentum_slice), Ok(gradient_slice)) = slices else {
            let of = |data| Tensor::from_data(data, &device);
            return self.lion.step(rate, of(weights), of(gradient), Some(LionState::new(of(momentum))));
        };
        self.update(rate, weight_slice, momentum_slice, gradient_slice);
        let state = LionState::new(Tensor::from_data(momentum, &device));
        (Tensor::from_data(weights, &device), Some(state))
    }

    fn to_device<const D: usize>(state: LionState<D>, device: &Device) -> LionState<D> {
        Lion::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rows: usize, phase: f32) -> Tensor<2> {
        let values = (0..rows * 300).map(|i| (i as f32 * 0.61 + phase).sin() * (i % 5) as f32);
        Tensor::from_data(TensorData::new(values.collect(), [rows, 300]), &Device::flex())
    }

    #[test]
    fn matches_burn() {
        let rows = TASK / 100 + 7;
        let fused = FusedLion::new([0.9, 0.99], 0.3);
        let (mut a, mut b) = ((values(rows, 0.0), None), (values(rows, 0.0), None));
        for step in 0..4 {
            // The backward pass of a matrix product may return a transposed gradient.
            let gradient = values(rows, step as f32 + 0.5).transpose().reshape([300, rows]).transpose();
            a = fused.step(0.01 * f64::from(step + 1), a.0, gradient.clone(), a.1);
            b = fused.lion.step(0.01 * f64::from(step + 1), b.0, gradient, b.1);
        }
        let to_vec = |x: Tensor<2>| x.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(to_vec(a.0), to_vec(b.0));
        assert_eq!(to_vec(a.1.unwrap().momentum), to_vec(b.1.unwrap().momentum));
    }

    #[test]
    fn matches_the_published_algorithm() {
        // Algorithm 2 of arXiv 2302.06675 in f64, with a decay large enough to be visible.
        let (beta_1, beta_2, decay) = (0.9, 0.99, 0.5);
        let fused = FusedLion::new([0.9, 0.99], 0.5);
        let initial = [0.5, -1.5, 2.0, 0.25];
        let (mut weights, mut momentum) = (initial, [0.0; 4]);
        let (mut tensor, mut state) = (Tensor::<1>::from_floats(initial, &Device::flex()), None);
        for step in 0..30 {
            let rate = 0.01 * f64::from(1 + step % 3);
            let gradient: [f64; 4] = std::array::from_fn(|i| (f64::from(step) * 0.7 + i as f64).sin());
            for i in 0..4 {
                let update: f64 = beta_1 * momentum[i] + (1.0 - beta_1) * gradient[i];
                // In Rust, the `signum` of 0 is 1.
                let sign = if update == 0.0 { 0.0 } else { update.signum() };
                weights[i] -= rate * (sign + decay * weights[i]);
                momentum[i] = beta_2 * momentum[i] + (1.0 - beta_2) * gradient[i];
            }
            let gradient = Tensor::from_floats(gradient, &Device::flex());
            (tensor, state) = fused.step(rate, tensor, gradient, state);
        }
        for (found, expected) in tensor.into_data().iter::<f64>().zip(weights) {
            assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
        }
    }

    #[test]
    fn weights_are_updated_in_place() {
        let fused = FusedLion::new([0.9, 0.99], 0.0);
        let mut weights = values(10, 0.0).into_data();
        let address = weights.as_mut_slice::<f32>().unwrap().as_ptr();
        let (updated, _) =
            fused.step(0.1, Tensor::<2>::from_data(weights, &Device::flex()), values(10, 1.0), None);
        assert_eq!(updated.into_data().as_slice::<f32>().unwrap().as_ptr(), address);
    }
}
