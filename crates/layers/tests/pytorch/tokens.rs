//! Layers of token states.

use burn::tensor::{Device, FloatDType, Tensor};
use sail_core::{AlignmentHead, HeadError, TokenLayout};
use sail_layers::Head;

use crate::fixture::{Expected, assert_close, norms};

const EXPECTED: Expected = Expected(include_bytes!("../fixtures/tokens/expected.safetensors"));
const HEADS: [(&str, &[u8]); 4] = [
    ("token", include_bytes!("../fixtures/tokens/token.safetensors")),
    ("token-patches", include_bytes!("../fixtures/tokens/token-patches.safetensors")),
    ("token-transformer", include_bytes!("../fixtures/tokens/token-transformer.safetensors")),
    ("token-transformer-patches", include_bytes!("../fixtures/tokens/token-transformer-patches.safetensors")),
];
const DIM: usize = 8;

fn head(bytes: &[u8], device: &Device) -> Head {
    Head::from_bytes(bytes.to_vec(), device).unwrap()
}

/// The rows of a case, as tokens.
fn tokens(case: &str, device: &Device) -> Tensor<3> {
    let x = EXPECTED.matrix(&format!("{case}/x"), device);
    let [rows, values] = x.dims();
    x.reshape([rows, values / DIM, DIM])
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

#[test]
fn outputs_and_gradients_are_those_of_pytorch() {
    for (case, bytes) in HEADS {
        let of = |part: &str| EXPECTED.floats(&format!("{case}/{part}")).0;
        let device = Device::flex().autodiff();
        let head = head(bytes, &device);
        let x = EXPECTED.matrix(&format!("{case}/x"), &device).require_grad();
        let y = head.project_images(x.clone()).unwrap();
        assert_close(values(y.clone().inner()), of("y"));
        let cotangent = EXPECTED.matrix(&format!("{case}/cotangent"), &device);
        let gradients = (y * cotangent).sum().backward();
        assert_close(values(x.grad(&gradients).unwrap()), of("x.grad"));

        let found = norms(&head, &gradients);
        let mut names: Vec<String> = safetensors::SafeTensors::deserialize(bytes)
            .unwrap()
            .names()
            .iter()
            .map(|name| name.to_string())
            .collect();
        names.retain(|name| name.starts_with("image."));
        let norm = |name: &String| EXPECTED.norm(&format!("{case}/{}.grad", &name["image.".len()..]));
        let mut expected: Vec<f32> = names.iter().map(norm).collect();
        // The file is in the order of the names, the head in that of its fields.
        let mut found = found;
        found.sort_by(f32::total_cmp);
        expected.sort_by(f32::total_cmp);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-4, "{case}: {found}, expected {expected}");
        }
    }
}

#[test]
fn patches_are_those_of_pytorch_in_images_of_any_size() {
    for (case, bytes) in HEADS {
        let device = Device::flex();
        let head = head(bytes, &device);
        let tokens = tokens(case, &device);
        let patches = head.project_patches(tokens.clone()).unwrap();
        let (expected, shape) = EXPECTED.floats(&format!("{case}/patches"));
        assert_eq!(patches.dims().to_vec(), shape);
        assert_close(values(patches), expected);

        // Fewer patches than in training.
        let [_, count, _] = tokens.dims();
        let [_, all, _] = head.project_patches(tokens.clone()).unwrap().dims();
        assert_eq!(head.project_patches(tokens.clone().narrow(1, 0, count - 2)).unwrap().dims()[1], all - 2);
        if count > all {
            let class = head.project_patches(tokens.clone().narrow(1, 0, 1));
            assert!(matches!(class, Err(HeadError::TooFewTokens { found: 1, expected: 2 })));
        }
        let narrow = head.project_patches(tokens.narrow(2, 0, DIM - 1));
        assert!(matches!(narrow, Err(HeadError::Dimension { found: 7, expected: 8, .. })));
    }
}

#[test]
fn bf16_is_close_to_f32() {
    for (case, bytes) in HEADS {
        let device = Device::flex();
        let head = head(bytes, &device);
        let x = EXPECTED.matrix(&format!("{case}/x"), &device);
        let expected = EXPECTED.floats(&format!("{case}/y")).0;
        let size = expected.iter().fold(0f32, |size, x| size.max(x.abs()));
        let half = head.computing_in(FloatDType::BF16).unwrap();
        let found = values(half.project_images(x.clone()).unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 0.05 * size, "{case}: {found}, expected {expected}");
        }
    }
}

#[test]
fn the_layout_of_a_file_is_that_of_its_tokens() {
    let layout = |index: usize| head(HEADS[index].1, &Device::flex()).config().image.as_ref().unwrap().tokens;
    assert_eq!(layout(0), Some(TokenLayout::Image { class_token: true, grid: [2, 3], dim: DIM }));
    assert_eq!(layout(3), Some(TokenLayout::Image { class_token: false, grid: [2, 3], dim: DIM }));
    // Written again, byte for byte the tensors of PyTorch.
    for (case, bytes) in HEADS {
        let written = head(bytes, &Device::flex()).to_bytes().unwrap();
        let [own, theirs] =
            [&written[..], bytes].map(|bytes| safetensors::SafeTensors::deserialize(bytes).unwrap());
        assert_eq!(own.len(), theirs.len(), "{case}");
        for (name, tensor) in theirs.iter() {
            assert_eq!(own.tensor(name).unwrap().data(), tensor.data(), "{case}: {name}");
        }
    }
}
