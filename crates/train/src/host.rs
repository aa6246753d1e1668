//! Tensors that can be worked on as slices.

use burn::tensor::{DType, Device, Tensor};

/// Whether a tensor holds f32 values in host memory, outside any graph.
pub(crate) fn is_host_f32<const D: usize>(x: &Tensor<D>) -> bool {
    x.device() == Device::flex() && x.dtype() == DType::F32
}
