//! The linear layer: the projector of alignment probing and the building block of the others.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::WeightInit;

/// Creates a linear layer, `x W + b`, with Xavier-uniform weights and zero bias.
///
/// # Shapes
/// - input: `[batch, d_input]`
/// - output: `[batch, d_output]`
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sail_layers::{WeightInit, linear};
/// let device = Device::flex();
/// let layer = linear(8, 4, &mut WeightInit::new(0, 0, &device));
/// assert_eq!(layer.forward(Tensor::<2>::ones([3, 8], &device)).dims(), [3, 4]);
/// ```
pub fn linear(d_input: usize, d_output: usize, init: &mut WeightInit) -> Linear {
    let weight = init.xavier_uniform(d_input, d_output);
    let bias = Tensor::zeros([d_output], init.device());
    Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
}
