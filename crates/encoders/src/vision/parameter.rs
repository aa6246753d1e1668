//! Parameters of a checkpoint.

use burn::module::Param;
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};

/// Creates a parameter that allocates no memory until it is loaded.
pub(super) fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Initializer::Zeros.init(shape, device)
}

/// Converts a parameter to `f32`.
pub(super) fn to_f32<const D: usize>(parameter: Param<Tensor<D>>) -> Tensor<D> {
    parameter.into_value().detach().cast(DType::F32)
}
