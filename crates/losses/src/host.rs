//! Access to f32 tensors in host memory.

use burn::tensor::Tensor;
pub(crate) use sail_support::cpu::is_host_f32;

/// Independent partial sums of a reduction. A single sum has to be added in order, which does not vectorise.
pub(crate) const LANES: usize = 16;

/// Lets `work` modify the values, row-major, of a tensor for which [`is_host_f32`] holds. Also passes its shape.
pub(crate) fn modify<T>(x: Tensor<2>, work: impl FnOnce(&mut [f32], [usize; 2]) -> T) -> (T, Tensor<2>) {
    let (device, shape) = (x.device(), x.dims());
    let mut data = x.into_data();
    let result = work(data.as_mut_slice().unwrap_or_default(), shape);
    (result, Tensor::from_data(data, &device))
}

/// A copy of the values, row-major.
pub(crate) fn values<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.clone().into_data().iter().collect()
}
