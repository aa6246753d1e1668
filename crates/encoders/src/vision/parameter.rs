//! The parameters of a checkpoint before and after they are loaded.

use burn::module::Param;
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};

/// A parameter that takes no memory before it is loaded.
pub(super) fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Initializer::Zeros.init(shape, device)
}

/// A parameter in 32-bit floats, whatever the checkpoint stores.
pub(super) fn wide<const D: usize>(parameter: Param<Tensor<D>>) -> Tensor<D> {
    parameter.into_value().detach().cast(DType::F32)
}
