//! Heads that were saved before the first release still load, and give the same embeddings.
//!
//! The files and embeddings in `fixtures/heads_0_1_0` were written by the code as it was before GLU and SwiGLU became one
//! layer. They are not to be regenerated.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use sail_core::AlignmentHead;
use sail_layers::Head;
use serde::Deserialize;

#[derive(Deserialize)]
struct Embeddings {
    images: Vec<f32>,
    texts: Vec<f32>,
}

fn input(dim: usize, phase: f32) -> Tensor<2> {
    let values: Vec<f32> = (0..3 * dim).map(|i| (i as f32 * 0.73 + phase).sin() * 2.0).collect();
    Tensor::from_data(TensorData::new(values, [3, dim]), &Device::flex())
}

#[test]
fn load_and_give_the_same_embeddings() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/heads_0_1_0"));
    let json = std::fs::read_to_string(folder.join("embeddings.json")).unwrap();
    let expected: BTreeMap<String, Embeddings> = serde_json::from_str(&json).unwrap();
    assert_eq!(expected.len(), 5);
    for (name, expected) in expected {
        let path = folder.join(format!("{name}.safetensors"));
        let head = Head::load(&path, &Device::flex()).unwrap();
        let images = head.project_images(input(5, 0.1)).unwrap();
        let texts = head.project_texts(input(4, 0.2)).unwrap();
        for (found, expected) in [(images, expected.images), (texts, expected.texts)] {
            for (found, expected) in found.into_data().iter::<f32>().zip(expected) {
                assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name}: {found}");
            }
        }
        // The same head is the same file.
        assert_eq!(head.to_bytes().unwrap(), std::fs::read(path).unwrap(), "{name}");
    }
}
