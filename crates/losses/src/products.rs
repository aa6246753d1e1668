//! The matrix products of a tiled loss.

use burn::tensor::{Device, Tensor};
use sail_core::Dtype;
#[cfg(feature = "flex")]
use sail_matmul::Bf16Products;

/// How a loss multiplies tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products {
    #[cfg(feature = "flex")]
    bf16: Option<Bf16Products>,
}

impl Products {
    /// Returns the products on `device`: of values rounded to bf16 if that is the precision and `device` is a CPU with
    /// instructions for it, else in f32.
    pub(crate) fn new(precision: Dtype, device: &Device) -> Self {
        #[cfg(feature = "flex")]
        {
            let bf16 = precision == Dtype::BF16 && sail_support::cpu::is_cpu(device);
            Self { bf16: bf16.then(Bf16Products::detect).flatten() }
        }
        #[cfg(not(feature = "flex"))]
        {
            let _ = (precision, device);
            Self {}
        }
    }

    /// Products in f32.
    pub(crate) fn f32() -> Self {
        Self {
            #[cfg(feature = "flex")]
            bf16: None,
        }
    }

    pub(crate) fn matmul(self, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
        #[cfg(feature = "flex")]
        if let Some(products) = self.bf16 {
            return products.matmul(lhs, rhs);
        }
        lhs.matmul(rhs)
    }
}
