//! Access to f32 tensors in host memory.

use burn::tensor::{DType, Device, Tensor};

/// Independent partial sums of a reduction. A single sum has to be added in order, which does not vectorise.
pub(crate) const LANES: usize = 16;

/// True for an f32 tensor without a graph on burn's CPU backend.
pub(crate) fn is_host_f32(x: &Tensor<2>) -> bool {
    x.device() == Device::flex() && x.dtype() == DType::F32
}

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
