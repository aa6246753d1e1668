//! The residual MLP against PyTorch: a file with its weights, the outputs, and the gradients without dropout.

#![allow(clippy::unwrap_used, clippy::panic)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::SafeTensors;
use sail_core::AlignmentHead;
use sail_layers::{Head, HeadConfig, ProjectorConfig};

const HEAD: &[u8] = include_bytes!("fixtures/residual_mlp/head.safetensors");
const EXPECTED: &[u8] = include_bytes!("fixtures/residual_mlp/expected.safetensors");

fn floats(name: &str) -> (Vec<f32>, Vec<usize>) {
    let tensors = SafeTensors::deserialize(EXPECTED).unwrap();
    let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no `{name}`"));
    let values = tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (values.collect(), tensor.shape().to_vec())
}

fn matrix(name: &str, device: &Device) -> Tensor<2> {
    let (values, shape) = floats(name);
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn assert_close(found: Vec<f32>, name: &str) {
    let (expected, _) = floats(name);
    let size = expected.iter().fold(0f32, |size, x| size.max(x.abs()));
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-5 * size, "{name}: {found}, expected {expected}");
    }
}

/// The norms of the gradients of the parameters, in the order of the fields; matrices are stored transposed.
struct Norms<'a>(&'a Gradients, Vec<f32>);

impl ModuleVisitor for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.0) {
            self.1.push(gradient.square().sum().sqrt().into_scalar());
        }
    }
}

#[test]
fn output_and_gradients_are_those_of_pytorch() {
    // On an autodiff device dropout is active, unless its probability is 0.
    let inference = Head::from_bytes(HEAD.to_vec(), &Device::flex()).unwrap();
    assert_eq!(
        inference.config().text.as_ref().unwrap().projector,
        ProjectorConfig::ResidualMlp { expansion: 2, depth: 3, dropout: 0.6 }
    );
    let bytes = replaced(HEAD, br#"\"dropout\": 0.6"#, br#"\"dropout\": 0.0"#);
    let device = Device::flex().autodiff();
    let training = Head::from_bytes(bytes, &device).unwrap();
    for side in ["image", "text"] {
        let project = |head: &Head, x| match side {
            "image" => head.project_images(x).unwrap(),
            _ => head.project_texts(x).unwrap(),
        };
        let of = |part: &str| format!("{side}/{part}");
        let found = project(&inference, matrix(&of("x"), &Device::flex()));
        assert_close(found.into_data().try_to_vec().unwrap(), &of("y"));

        let x = matrix(&of("x"), &device).require_grad();
        let gradients = (project(&training, x.clone()) * matrix(&of("cotangent"), &device)).sum().backward();
        assert_close(x.grad(&gradients).unwrap().into_data().try_to_vec().unwrap(), &of("x.grad"));
        let mut norms = Norms(&gradients, Vec::new());
        training.visit(&mut norms);
        let block = |index: usize| {
            ["norm.weight", "norm.bias", "hidden.weight", "hidden.bias", "output.weight", "output.bias"]
                .map(|part| format!("blocks.{index}.{part}"))
        };
        let names = (0..3)
            .flat_map(block)
            .chain(["norm.weight", "norm.bias", "output.weight", "output.bias"].map(str::to_owned));
        let expected: Vec<f32> = names
            .map(|name| floats(&of(&format!("{name}.grad"))).0.iter().map(|x| x * x).sum::<f32>().sqrt())
            .collect();
        assert_eq!(norms.1.len(), expected.len());
        for (found, expected) in norms.1.iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-4, "{side}: {found}, expected {expected}");
        }
    }
}

/// `bytes` with the occurrences of a part replaced by another of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for start in 0..bytes.len() - from.len() {
        if bytes[start..].starts_with(from) {
            bytes[start..start + from.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn the_sizes_of_the_paper_are_the_default() {
    let config = HeadConfig::new(6, 5, 4, ProjectorConfig::RESIDUAL_MLP);
    assert!(!config.image.as_ref().unwrap().norm);
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    // Four blocks of two linear layers of expansion 4 with a norm, then a norm and a linear layer.
    let side = |d: usize| 4 * (8 * d * d + 5 * d + 2 * d) + 2 * d + 4 * d + 4;
    assert_eq!(Module::num_params(&head), side(6) + side(5) + 2);
}
