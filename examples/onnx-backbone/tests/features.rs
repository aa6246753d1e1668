//! Compares the imported model with PyTorch.

#![allow(clippy::unwrap_used, clippy::panic)]

use burn::tensor::{Device, Tensor, TensorData};
use onnx_backbone::TinyVit;
use safetensors::SafeTensors;
use sail_core::{ImageEncoder, ImagePooling, Pixels, RgbImage, TowerError};

/// `pixels` and the outputs of PyTorch, written by `model/generate_tiny_vit.py`.
const REFERENCE: &[u8] = include_bytes!("../model/tiny_vit.safetensors");

fn reference(name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(REFERENCE).unwrap();
    let tensor = file.tensor(name).unwrap();
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    (tensor.shape().to_vec(), tensor.data().chunks_exact(4).map(value).collect())
}

fn values<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
    (tensor.dims().to_vec(), tensor.into_data().try_to_vec::<f32>().unwrap())
}

#[track_caller]
fn assert_close(found: (Vec<usize>, Vec<f32>), expected: (Vec<usize>, Vec<f32>)) {
    assert_eq!(found.0, expected.0);
    let difference = found.1.iter().zip(&expected.1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn features_match_pytorch() {
    let device = Device::flex();
    let (shape, pixels) = reference("pixels");
    let encode = |rows: usize| {
        let values = pixels[..rows * pixels.len() / shape[0]].to_vec();
        let batch = TensorData::new(values, [rows, shape[1], shape[2], shape[3]]);
        TinyVit::new(&device).encode_images(Tensor::from_data(batch, &device)).unwrap()
    };
    let features = encode(shape[0]);
    assert_close(values(features.class_token.unwrap()), reference("class_token"));
    let patches = features.patches.unwrap();
    assert_eq!(patches.grid, [4, 4]);
    assert_close(values(patches.tokens), reference("patch_tokens"));
    // The batch size is dynamic.
    let (shape, expected) = reference("class_token");
    assert_close(values(encode(1).class_token.unwrap()), (vec![1, shape[1]], expected[..shape[1]].to_vec()));
}

#[test]
fn tower_pools_features_and_rejects_other_sizes() {
    let tower = onnx_backbone::tower(ImagePooling::Concat, &Device::flex());
    let (shape, pixels) = reference("pixels");
    let images: Vec<Pixels> = pixels
        .chunks(pixels.len() / shape[0])
        .map(|values| Pixels { size: [shape[2], shape[3]], values: values.to_vec() })
        .collect();
    let (dims, rows) = values(tower.embed(&images).unwrap());
    assert_eq!(dims, [3, 64]);
    let (class, patches) = (reference("class_token").1, reference("patch_tokens").1);
    for ((row, class), patches) in rows.chunks(64).zip(class.chunks(32)).zip(patches.chunks(16 * 32)) {
        let mean = (0..32).map(|column| patches.iter().skip(column).step_by(32).sum::<f32>() / 16.0);
        let expected: Vec<f32> = class.iter().copied().chain(mean).collect();
        assert_close((vec![64], row.to_vec()), (vec![64], expected));
    }
    let error = tower.embed_images(&[RgbImage::new(32, 32), RgbImage::new(31, 32)]).unwrap_err();
    assert!(matches!(error, TowerError::Input { row: 1, .. }), "{error}");
    let wide = Pixels { size: [32, 64], values: vec![0.0; 3 * 32 * 64] };
    assert!(matches!(tower.embed(&[wide]), Err(TowerError::Encode(_))));
}
