//! What a generator wrote.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::SafeTensors;

/// A file with inputs, outputs and gradients.
pub(crate) struct Expected(pub(crate) &'static [u8]);

impl Expected {
    /// The values and the shape of a tensor.
    pub(crate) fn floats(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let tensors = SafeTensors::deserialize(self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no `{name}`"));
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        (tensor.data().chunks_exact(4).map(value).collect(), tensor.shape().to_vec())
    }

    pub(crate) fn matrix(&self, name: &str, device: &Device) -> Tensor<2> {
        let (values, shape) = self.floats(name);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    pub(crate) fn norm(&self, name: &str) -> f32 {
        self.floats(name).0.iter().map(|x| x * x).sum::<f32>().sqrt()
    }
}

pub(crate) fn assert_close(found: Vec<f32>, expected: Vec<f32>) {
    let size = expected.iter().fold(0f32, |size, x| size.max(x.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-5 * size, "{found}, expected {expected}");
    }
}

/// The norms of the gradients of the parameters, in the order of the fields; matrices are stored transposed.
pub(crate) fn norms(module: &impl Module, gradients: &Gradients) -> Vec<f32> {
    struct Norms<'a>(&'a Gradients, Vec<f32>);
    impl ModuleVisitor for Norms<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                self.1.push(gradient.square().sum().sqrt().into_scalar());
            }
        }
    }
    let mut norms = Norms(gradients, Vec::new());
    module.visit(&mut norms);
    norms.1
}
