//! The residual MLP.

use burn::module::Module;
use burn::tensor::Device;
use sail_core::AlignmentHead;
use sail_layers::{Head, HeadConfig, ProjectorConfig};

use crate::fixture::{Expected, assert_close, norms};

const HEAD: &[u8] = include_bytes!("../fixtures/residual_mlp/head.safetensors");
const EXPECTED: Expected = Expected(include_bytes!("../fixtures/residual_mlp/expected.safetensors"));

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
        let found = project(&inference, EXPECTED.matrix(&of("x"), &Device::flex()));
        assert_close(found.into_data().try_to_vec().unwrap(), EXPECTED.floats(&of("y")).0);

        let x = EXPECTED.matrix(&of("x"), &device).require_grad();
        let cotangent = EXPECTED.matrix(&of("cotangent"), &device);
        let gradients = (project(&training, x.clone()) * cotangent).sum().backward();
        let found = x.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        assert_close(found, EXPECTED.floats(&of("x.grad")).0);
        let block = |index: usize| {
            ["norm.weight", "norm.bias", "hidden.weight", "hidden.bias", "output.weight", "output.bias"]
                .map(|part| format!("blocks.{index}.{part}"))
        };
        let names = (0..3)
            .flat_map(block)
            .chain(["norm.weight", "norm.bias", "output.weight", "output.bias"].map(str::to_owned));
        let expected: Vec<f32> = names.map(|name| EXPECTED.norm(&of(&format!("{name}.grad")))).collect();
        let found = norms(&training, &gradients);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
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
