//! The products of a computation, on any device.

use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor};

use crate::Bf16Products;

/// How a computation multiplies matrices: as burn does, in the dtype of the tensors, or in bf16 on a CPU.
///
/// Most operations on half-precision tensors are slow on a CPU. A computation in bf16 there keeps its tensors in f32, and only
/// the inputs of its products are rounded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Products {
    bf16: Option<Bf16Products>,
}

impl Products {
    /// Returns the products of a computation in `dtype` if that is bf16 and `device` a CPU: in bf16 if the CPU has instructions
    /// for it, else in f32, see [`bf16`](Self::bf16).
    ///
    /// Returns `None` for other dtypes and devices, whose tensors are cast to `dtype` instead.
    ///
    /// # Examples
    /// ```
    /// use burn::tensor::{DType, Device, Tensor};
    /// use sail_matmul::{Bf16Products, Products};
    ///
    /// let device = Device::flex();
    /// let products = Products::bf16_on_cpu(DType::BF16, &device).ok_or("a CPU")?;
    /// assert_eq!(products.bf16().is_some(), Bf16Products::detect().is_some());
    /// let x = Tensor::<2>::from_data([[1.0, 2.0]], &device);
    /// let product: f32 = products.matmul(x.clone(), x.transpose()).into_scalar();
    /// assert_eq!(product, 5.0);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn bf16_on_cpu(dtype: impl Into<DType>, device: &Device) -> Option<Self> {
        #[cfg(feature = "flex")]
        if dtype.into() == DType::BF16 && sail_support::cpu::is_cpu(device) {
            return Some(Self { bf16: Bf16Products::detect() });
        }
        #[cfg(not(feature = "flex"))]
        let _ = (dtype.into(), device);
        None
    }

    /// Returns the products in bf16, or `None` if these are in the dtype of the tensors.
    pub fn bf16(self) -> Option<Bf16Products> {
        self.bf16
    }

    /// Multiplies two matrices.
    ///
    /// # Shapes
    /// - lhs: `[rows, depth]`
    /// - rhs: `[depth, columns]`
    /// - output: `[rows, columns]`
    pub fn matmul(self, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
        #[cfg(feature = "flex")]
        if let Some(bf16) = self.bf16 {
            return bf16.matmul(lhs, rhs);
        }
        lhs.matmul(rhs)
    }

    /// Adds a product to a matrix, in its memory where that is possible. There is no autodiff.
    ///
    /// # Shapes
    /// - sum, output: `[rows, columns]`
    /// - lhs: `[rows, depth]`
    /// - rhs: `[depth, columns]`
    pub fn add_matmul(self, sum: Tensor<2>, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
        #[cfg(feature = "flex")]
        if let Some(bf16) = self.bf16 {
            return bf16.add_matmul(sum, lhs, rhs);
        }
        sum + lhs.matmul(rhs)
    }

    /// Applies a linear layer.
    ///
    /// # Shapes
    /// - x: `[rows, inputs]`
    /// - output: `[rows, outputs]`
    pub fn linear(self, layer: &Linear, x: Tensor<2>) -> Tensor<2> {
        if self.bf16.is_none() {
            return layer.forward(x);
        }
        let product = self.matmul(x, layer.weight.val());
        match &layer.bias {
            Some(bias) => product + bias.val().unsqueeze(),
            None => product,
        }
    }
}
