//! The weights of frozen layers.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData, module};

use crate::{Bf16Products, PackedMatrix, Products};

/// The weights of a frozen linear layer, rounded to bf16 and packed once. Clones share them.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    products: Bf16Products,
    weight: Arc<PackedMatrix>,
}

impl Products {
    /// Packs the weights of a frozen layer. Returns `None` if these products are not in bf16, or if `weight` is not an f32
    /// tensor of burn's CPU backend without an autodiff graph.
    ///
    /// # Shapes
    /// - weight: `[inputs, outputs]`
    pub fn pack(self, weight: &Tensor<2>) -> Option<PackedWeight> {
        let products = self.bf16()?;
        let weight = Arc::new(products.pack_tensor(weight)?);
        Some(PackedWeight { products, weight })
    }
}

impl PackedWeight {
    /// Returns the number of inputs and outputs of the layer.
    pub fn shape(&self) -> [usize; 2] {
        self.weight.shape()
    }

    /// Applies the layer: `x weight + bias`, with `x` rounded to bf16 and sums in f32.
    ///
    /// Tensors of other devices and dtypes, or with an autodiff graph, are multiplied by burn.
    ///
    /// # Shapes
    /// - x: `[..., inputs]`
    /// - bias: `[outputs]`
    /// - output: `[..., outputs]`
    pub fn linear<const D: usize>(&self, x: Tensor<D>, bias: Option<Tensor<1>>) -> Tensor<D> {
        let [inputs, outputs] = self.shape();
        let mut shape = x.dims();
        if shape.last() == Some(&inputs) && inputs > 0 {
            let rows = x.clone().reshape([shape.iter().product::<usize>() / inputs, inputs]);
            if let Some(output) = self.products.linear(&rows, &self.weight, bias.as_ref()) {
                shape[D - 1] = outputs;
                return output.reshape(shape);
            }
        }
        let weight = self.to_tensor(&x.device()).cast(x.dtype());
        module::linear(x, weight, bias)
    }

    /// Returns the rounded weights as an f32 tensor.
    ///
    /// # Shapes
    /// - result: `[inputs, outputs]`
    pub fn to_tensor(&self, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.weight.unpack(), self.shape()), (device, DType::F32))
    }
}
