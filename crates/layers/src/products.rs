//! The matrix products of a projector.

use burn::nn::Linear;
use burn::tensor::{Device, FloatDType, Tensor};
#[cfg(feature = "flex")]
use sail_matmul::Bf16Products;

/// How the linear layers of a projector multiply.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Products {
    /// In the dtype of their parameters.
    #[default]
    Dtype,
    /// From f32 parameters rounded to bf16, on a CPU with instructions for it.
    #[cfg(feature = "flex")]
    Bf16(Bf16Products),
}

impl Products {
    /// Returns the products in `dtype` if `device` is a CPU and `dtype` is bf16, which are of f32 parameters: in bf16 if the
    /// CPU has instructions for it, else in f32. Otherwise the parameters are to be cast.
    pub(crate) fn on_cpu(dtype: FloatDType, device: &Device) -> Option<Self> {
        #[cfg(feature = "flex")]
        if dtype == FloatDType::BF16 && sail_support::cpu::is_cpu(device) {
            return Some(Bf16Products::detect().map_or(Self::Dtype, Self::Bf16));
        }
        let _ = (dtype, device);
        None
    }

    /// Applies a linear layer.
    pub(crate) fn linear(self, layer: &Linear, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dtype => layer.forward(x),
            #[cfg(feature = "flex")]
            Self::Bf16(products) => {
                let product = products.matmul(x, layer.weight.val());
                match &layer.bias {
                    Some(bias) => product + bias.val().unsqueeze(),
                    None => product,
                }
            }
        }
    }
}
